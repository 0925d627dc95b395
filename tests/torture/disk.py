"""A disk that loses power: which files may be found in a folder after a cut.

What was synced is there. Of what came later each write is there, or not, or some of its sectors
are; a longer file may be full of zeros where nothing arrived; each name that came or went has done
so or not. Nothing but an fsync of the folder makes its names last, and nothing keeps one write from
arriving before another.
"""

from collections.abc import Iterable
from random import Random
from typing import NamedTuple, Self

from tests.torture.recording import Step

SECTORS = (512, 4096)


class Fate(NamedTuple):
    """What becomes of what was not synced; ``kept`` is the share of it that arrives whole."""

    rng: Random
    kept: float
    sector: int

    @classmethod
    def drawn(cls, rng: Random) -> Self:
        """One of all that there are."""
        return cls(rng, rng.choice((0.0, 0.1, 0.5, 0.9, 1.0)), rng.choice(SECTORS))

    def keeps(self) -> bool:
        """Whether one more change arrives whole."""
        return self.rng.random() < self.kept

    def tears(self) -> bool:
        """Whether a change that does not arrive whole arrives in part."""
        return self.rng.random() < 0.5


KEPT = Fate(Random(0), 1.0, 512)
"""All arrives: the files as the running system sees them."""


class File:
    """The content of a file, whatever its name is."""

    def __init__(self) -> None:
        self.durable = bytearray()
        self.pending: list[Step] = []

    def sync(self) -> None:
        """All that was written lasts."""
        self.durable = self.after(KEPT)
        self.pending.clear()

    def after(self, fate: Fate) -> bytearray:
        """The content that is found after a cut."""
        content = bytearray(self.durable)
        for step in self.pending:
            if fate.keeps():
                _change(content, step)
            elif step.kind == "wrote" and fate.tears():
                _tear(content, step, fate)
        return content


def _change(content: bytearray, step: Step) -> None:
    end = step.offset + len(step.data)
    _lengthen(content, end if step.kind == "wrote" else step.offset)
    if step.kind == "wrote":
        content[step.offset : end] = step.data
    else:
        del content[step.offset :]


def _tear(content: bytearray, step: Step, fate: Fate) -> None:
    """Some sectors arrive; sometimes the length does, and its bytes do not."""
    end = step.offset + len(step.data)
    if fate.tears():
        _lengthen(content, end)
    start = step.offset
    while start < end:
        stop = min(end, (start // fate.sector + 1) * fate.sector)
        if fate.tears():
            part = step.data[start - step.offset : stop - step.offset]
            _change(content, step._replace(offset=start, data=part))
        start = stop


def _lengthen(content: bytearray, size: int) -> None:
    content.extend(bytes(max(0, size - len(content))))


class Disk:
    """A folder on a disk, and what was asked of it so far."""

    def __init__(self) -> None:
        self._folder = object()
        self._open: dict[int, File | object] = {}
        self._live: dict[str, File] = {}
        self._durable: dict[str, File] = {}
        self._pending: list[tuple[str, File | None]] = []

    @classmethod
    def at(cls, steps: Iterable[Step]) -> Self:
        """The disk after these steps."""
        disk = cls()
        for step in steps:
            disk.take(step)
        return disk

    def take(self, step: Step) -> None:
        """Do what was asked."""
        match step.kind:
            case "opened":
                self._open[step.fd] = self._opened(step) if step.name else self._folder
            case "closed":
                del self._open[step.fd]
            case "removed":
                del self._live[step.name]
                self._pending.append((step.name, None))
            case "wrote" | "truncated":
                self._file(step).pending.append(step)
            case "synced" if self._open[step.fd] is self._folder:
                self._durable = self._names(KEPT)
                self._pending.clear()
            case "synced":
                self._file(step).sync()
            case "noted":
                pass

    def after(self, fate: Fate) -> dict[str, bytes]:
        """The files that are found after a cut."""
        return {name: bytes(file.after(fate)) for name, file in self._names(fate).items()}

    def _file(self, step: Step) -> File:
        file = self._open[step.fd]
        assert isinstance(file, File)
        return file

    def _opened(self, step: Step) -> File:
        if step.created:
            self._live[step.name] = File()
            self._pending.append((step.name, self._live[step.name]))
        return self._live[step.name]

    def _names(self, fate: Fate) -> dict[str, File]:
        names = dict(self._durable)
        for name, file in self._pending:
            if not fate.keeps():
                continue
            if file is None:
                names.pop(name, None)
            else:
                names[name] = file
        return names
