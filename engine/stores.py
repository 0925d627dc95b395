"""Session stores: where sessions are kept under keys, whole or event by event."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Self

import msgspec

from agent.engine.bound import Bound
from agent.engine.erasing import Erased, erase
from agent.engine.errors import LONGEST_KEY, ConfigurationError, InvalidSessionId
from agent.engine.listing import SessionInfo, listed
from agent.engine.prices import cost_of_call
from agent.engine.settings import check_seconds
from agent.engine.sources import Sources
from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.errors import CorruptLog, InvalidExport
from agent.eventstore.events import SessionDeleted
from agent.eventstore.export import Export, export_events, parse_export
from agent.eventstore.importing import import_events
from agent.eventstore.verify import verify_log
from agent.projections import session as projection
from agent.projections.fold import rebuild
from agent.projections.session import SessionState
from agent.projections.tables.checking import Checked
from agent.projections.tables.tables import Tables

if TYPE_CHECKING:
    from agent.eventstore.findings import Level, Reached, Verification
    from agent.eventstore.jsonl.lines import Counts, Progress
    from agent.eventstore.log import EventLog


class SessionStore(ABC):
    """Keeps whole sessions under keys. Subclass it to keep them anywhere.

    ``data`` is what ``session.to_dict()`` gives: JSON-safe. As ``Agent(store=...)`` a store of
    one's own is handed the whole session after every turn, the last writer wins, and a turn that
    dies in its middle is not kept; the stores of this library append event by event instead.
    """

    @abstractmethod
    def save(self, session_id: str, data: dict[str, Any]) -> None:
        """Keep a session under a key."""

    @abstractmethod
    def load(self, session_id: str) -> dict[str, Any] | None:
        """The session kept under a key, None if there is none."""

    @abstractmethod
    def delete(self, session_id: str) -> bool:
        """Forget a session; False if there was none."""

    @abstractmethod
    def list_sessions(self) -> list[str]:
        """All keys."""


class LogStore(Bound, SessionStore):
    """A store over an event log: what is saved is checked whole, and nothing is overwritten."""

    _instead = "open the store anew in the other place"
    _busy_timeout = 30.0

    def __init__(self, log: EventLog) -> None:
        self.log = log
        self._sources = Sources()

    def save(self, session_id: str, data: Mapping[str, Any]) -> None:
        """Keep a session under a key, which need not be the session's own id.

        Appends what is missing when the key holds an earlier state of the same session. Raises
        :class:`ConflictError` when it holds a later or another one, :class:`InvalidExport` for
        data that is not whole.
        """
        import_events(self.log, checked_key(session_id), checked_export(data))

    def load(self, session_id: str) -> dict[str, Any] | None:
        """The session under a key as :meth:`Session.to_dict` gives it, None if there is none.

        Raises :class:`InvalidSessionId` for what can be no key.
        """
        recorded = list(self.log.read(checked_key(session_id)))
        return export_events(recorded, self.log) if recorded else None

    def delete(self, session_id: str) -> bool:
        """Forget a session; forks of it live on. False if there was none."""
        return self.log.delete(checked_key(session_id), self._sources.prepare(SessionDeleted()))

    def list_sessions(self) -> list[str]:
        """All keys, sorted."""
        return [info.stream for info in self.log.streams()]

    def sessions(self) -> Iterator[SessionInfo]:
        """What there is, without loading it."""
        return listed(self.log)

    def verify(self, *, level: Level = "chain", progress: Reached | None = None) -> Verification:
        """Check the whole log: what is wrong comes as findings, not as an error.

        ``"heads"`` looks at versions and positions, ``"chain"`` recomputes each hash from the
        stored bytes, ``"full"`` decodes all payloads, reads all attachments, and compares the
        tables beside the log, if there are any. ``progress`` is told each position. Raises
        ``ValueError`` for another level.
        """
        found = verify_log(self.log, level=level, progress=progress)
        return self.with_tables(found) if level == "full" else found

    def with_tables(self, found: Verification) -> Verification:
        """What was found in the log, and whether the tables beside it say the same."""
        checked = self.verify_tables()
        findings = [*found.findings, *checked.findings]
        return msgspec.structs.replace(found, findings=findings, rows=checked.rows)

    def verify_tables(self) -> Checked:
        """Whether the tables beside the log, if there are any, say what the log says."""
        return Checked(0, [])

    def erase(
        self,
        session_id: str,
        versions: Collection[int] | None = None,
        *,
        reason: str = "",
        forks: bool = False,
    ) -> Erased:
        """Erase, for good, what some events of a session say, or all of them.

        What is left says that they happened: types, times, ids, names of tools, tokens. The chain
        of hashes still verifies, and a ``payload.erased`` with the reason stands in the log.
        Raises :class:`SharedEvents` if other sessions share them, unless ``forks`` says that they
        may lose them too; :class:`NothingToErase`, :class:`UnknownStream`; :class:`OwnerAlive`
        while somebody runs a turn in one of them.
        """
        key, sources = checked_key(session_id), self._sources
        return erase(self.log, key, versions, reason=reason, forks=forks, sources=sources)

    def export(
        self,
        file: str | os.PathLike[str] | BinaryIO,
        sessions: Iterable[str] | None = None,
        *,
        progress: Progress | None = None,
    ) -> Counts:
        """Write sessions to a file as JSON lines: all, unless some are named by their keys.

        Takes the path of a new file, or a file opened to write bytes. The same sessions always
        give the same bytes; memory does not grow with the events. ``progress`` is called with
        how many events are written, and of how many. Raises :class:`UnknownStream` for a key that
        holds nothing and a session that was deleted meanwhile, :class:`CorruptLog` for a damaged
        one, :class:`AttachmentMissing`, and for a path :class:`StoreUnusable` if it is taken or
        cannot be made, and :class:`StoreFull`.
        """
        from agent.eventstore.jsonl.writing import write_log  # noqa: PLC0415 - seldom needed

        return write_log(self.log, file, sessions, progress=progress)

    def import_(
        self, file: str | os.PathLike[str] | BinaryIO, *, progress: Progress | None = None
    ) -> Counts:
        """Take the sessions of such a file, each under its key; answers what was new here.

        Takes a path or a file opened to read bytes, also a pipe. Appends what is missing where a
        key holds an earlier state of the same session. All is checked before the first event is
        written; what interrupted it may be repeated. ``progress`` is called with bytes, of twice
        those of the file. Raises :class:`InvalidExport` for a file that is not whole, naming the
        line, :class:`ConflictError` when a key holds a later or another session,
        :class:`UnknownEvent` for an event of a later release, and :class:`InvalidSessionId`.
        """
        from agent.eventstore.jsonl.importing import import_log  # noqa: PLC0415 - seldom needed

        return import_log(self.log, file, check_name=checked_key, progress=progress)

    def tables(self, path: str | os.PathLike[str] | None = None) -> Tables:
        """Tables of all sessions, for SQL and full-text search; see :class:`Tables`.

        They lie in a SQLite file of their own, beside that of the sessions (``x.tables.db`` for
        ``x.db``) unless ``path`` names another. Queries may call ``cost(provider, model,
        input_tokens, output_tokens, cached_tokens, cache_write_tokens)``: US dollars at the prices
        of today, NULL where they are unknown.
        """
        functions = {"cost": cost_of_call}
        return Tables(self.log, path, functions=functions, busy_timeout=self._busy_timeout)

    def close(self) -> None:
        """Release the log."""
        self.log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class MemoryStore(LogStore):
    """Sessions that end with the process."""

    def __init__(self) -> None:
        super().__init__(MemoryLog())


class SQLiteStore(LogStore):
    """Sessions in one SQLite file, made when first used.

    With ``durability="fsync"`` what was acknowledged survives power loss; ``"os"`` gives that up
    for speed. ``busy_timeout`` is in seconds. Raises :class:`ConfigurationError` for others.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Literal["fsync", "os"] = "fsync",
        busy_timeout: float = 30.0,
    ) -> None:
        if durability not in ("fsync", "os"):
            raise ConfigurationError(f'durability= is "fsync" or "os", not {durability!r}')
        if busy_timeout != 0:  # which waits for nobody
            check_seconds("busy_timeout", busy_timeout)
        log = SQLiteLog(path, durability=durability, busy_timeout=busy_timeout)
        super().__init__(log)
        self._file = log
        self._busy_timeout = busy_timeout
        # Named now: the working directory may be another one when they are asked for.
        in_memory = os.fsdecode(path) == ":memory:"
        self._tables = None if in_memory else Path(path).absolute().with_suffix(".tables.db")

    def erase(
        self,
        session_id: str,
        versions: Collection[int] | None = None,
        *,
        reason: str = "",
        forks: bool = False,
        vacuum: bool = True,
    ) -> Erased:
        """As :meth:`LogStore.erase`; then no byte of the texts is left in the files.

        They are written anew for it, as :meth:`vacuum` does, because pages that they hold no more
        keep their bytes; ``vacuum=False`` leaves that to later. Raises as it does: the texts are
        gone from the log then, and only the bytes are still there.
        """
        found = super().erase(session_id, versions, reason=reason, forks=forks)
        if self._tables is not None and self._tables.exists():
            self.tables().catch_up()
        if not vacuum:
            return found
        self.vacuum()
        return msgspec.structs.replace(found, vacuumed=True)

    def vacuum(self) -> None:
        """Write the file anew, so that no byte is left of what was deleted or erased.

        So are the tables, in the file beside it or in the same. Others may go on reading and
        writing. Takes as long as a copy, and room for one. Raises :class:`StoreBusy` when somebody
        does not let go of an older state, :class:`StoreFull`.
        """
        self._file.vacuum()
        if self._tables is not None:
            for path in (self._tables, self._file.path):
                self.tables(path).vacuum()

    def tables(self, path: str | os.PathLike[str] | None = None) -> Tables:
        """As :meth:`LogStore.tables`."""
        return super().tables(path or self._tables)

    def verify_tables(self) -> Checked:
        """As :meth:`LogStore.verify_tables`: those beside the file of the sessions."""
        return Checked(0, []) if self._tables is None else self.tables().verify()

    def backup(
        self,
        path: str | os.PathLike[str],
        *,
        level: Level = "heads",
        progress: Progress | None = None,
    ) -> Verification:
        """Copy all sessions, as they are now, to a new file, while others go on writing.

        The copy is verified, as :meth:`verify` does at ``level``, before it gets its name.
        ``progress`` is called with bytes, of twice those of the copy, which is read once more.
        Raises :class:`CorruptLog` for a log that is damaged, :class:`StoreUnusable` for a path that
        is taken or cannot be made, :class:`StoreFull`; nothing is left then.
        """
        from agent.eventstore.backends.sqlite_backup import backup_log  # noqa: PLC0415 - seldom needed

        return backup_log(self._file, path, level=level, progress=progress)


def checked_key(key: str) -> str:
    """A key that every store can keep. Raises :class:`InvalidSessionId`."""
    if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance] - user input
        raise InvalidSessionId(f"is of type {type(key).__name__}")
    if not key or key.isspace():
        raise InvalidSessionId("is empty")
    if len(key) > LONGEST_KEY:
        raise InvalidSessionId(f"has {len(key)} characters")
    if "\0" in key:
        raise InvalidSessionId(f"has a NUL at {key.index(chr(0))}")
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise InvalidSessionId(f"has a lone surrogate at {error.start}") from None
    return str.__str__(key)


def checked_export(data: Mapping[str, Any]) -> Export:
    """An export that is whole and makes sense as a session. Raises :class:`InvalidExport`."""
    export = parse_export(data)
    try:
        rebuild(projection.evolve, export.recorded, SessionState())
    except CorruptLog as error:
        raise InvalidExport(error.reason, version=error.version) from error
    return export
