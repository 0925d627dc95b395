"""The root of every error of this library, and the errors of the event store.

``agent.errors`` draws the whole tree; this module lies at the bottom so that every layer can
subclass :class:`AgentError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.eventstore.record import Head


class AgentError(Exception):
    """Anything that this library raises on purpose. Catch it to handle every failure of a turn.

    ``completed_calls`` holds the ids of the tool calls that had run in the turn that it ended.
    """

    completed_calls: tuple[str, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """Whole, for the process that waits for it: by itself Python would call the class anew."""
        return _revived, (type(self), self.args), vars(self)


def _revived(cls: type[AgentError], args: tuple[Any, ...]) -> AgentError:
    error = cls.__new__(cls)
    error.args = args
    return error


class InvalidEvent(AgentError):
    """A fact that cannot be stored without loss: NaN, bytes, a lone surrogate, broken raw JSON.

    ``event`` is the tag of the event (or what the value was for), ``path`` the place inside it.
    """

    def __init__(self, reason: str, *, event: str, path: str) -> None:
        place = event if path == "$" else f"{event}: {path}"
        super().__init__(f"{place}: {reason}")
        self.event = event
        self.path = path
        self.reason = reason


class StoreError(AgentError):
    """The event log could not do what was asked. Nothing acknowledged was lost."""


class StoreBusy(StoreError):
    """Another writer holds the log. Nothing was written; the same call may be made again."""


class StoreFull(StoreError):
    """There is no room for the event. Nothing was written; free space and call again."""


class StoreUnusable(StoreError):
    """The file is not an event log that can be used: closed, foreign, newer, read-only, replaced.

    Nothing was written.
    """


class StoreDamaged(StoreUnusable):
    """The file is damaged below the events, so that SQLite cannot read it. Restore a backup."""


class AppendUnknown(StoreError):
    """The answer to an append was lost: it may or may not be in the log.

    Appending the same prepared events again is safe. Where a disk failed, the log takes nothing
    more until it is opened again, and shows then what it has.
    """


class UnknownStream(StoreError):
    """There is no stream of this name, or not as many events as were asked for."""

    def __init__(self, message: str, *, stream: str) -> None:
        super().__init__(message)
        self.stream = stream


class ConflictError(StoreError):
    """The stream is not at the version that the writer expected. Nothing was written.

    ``expected`` and ``actual`` are heads (version and hash); None stands for "no such stream".
    """

    def __init__(
        self, stream: str, *, expected: Head | None, actual: Head | None, advice: str = ""
    ) -> None:
        found = "does not exist" if actual is None else f"is at version {actual.version}"
        wanted = "a new stream" if expected is None else f"version {expected.version}"
        if expected and actual and expected.version == actual.version:
            found = f"holds other events at version {actual.version}"
        gone = "It was deleted: open the session anew."
        again = "Refresh the session and decide again."
        advice = advice or (gone if actual is None else again)
        super().__init__(f"stream {stream!r} {found}; the writer expected {wanted}. {advice}")
        self.stream = stream
        self.expected = expected
        self.actual = actual


class InvalidAppend(StoreError):
    """The events cannot stand where they should be appended: a bug of the caller, not of data."""


class AttachmentMissing(StoreError):
    """The log does not hold an attachment whole. Give its bytes once more.

    ``size`` is the number of bytes that an event says it has, where one names it.
    """

    def __init__(self, digest: str, *, size: int | None = None) -> None:
        named = digest if size is None else f"{digest} of {size} bytes"
        super().__init__(
            f"attachment {named} is not in the log, or not whole; "
            "make the part from its bytes with ImagePart.from_bytes or FilePart.from_bytes"
        )
        self.digest = digest
        self.size = size


class CorruptLog(StoreError):
    """Stored events contradict each other or their hashes. ``stream`` and ``version`` say where."""

    def __init__(self, reason: str, *, stream: str, version: int) -> None:
        super().__init__(
            f"stream {stream!r}, version {version}: {reason}; "
            "restore this session from a backup or an export"
        )
        self.stream = stream
        self.version = version
        self.reason = reason


class UnknownEvent(StoreError):
    """An event of a type or schema version that this release does not know.

    The stream cannot be opened; it can still be listed, verified and exported.
    """

    def __init__(self, *, type: str, schema: int, known: int | None, version: int = 0) -> None:  # noqa: A002 - the field's name
        what = "an unknown type" if known is None else f"newer than schema {known}"
        super().__init__(
            f"event {type!r} (schema {schema}) at version {version} is {what}; "
            "open it with the release that wrote it, or a later one"
        )
        self.type = type
        self.schema = schema
        self.known = known
        self.version = version


class NothingToErase(StoreError):
    """The event holds no text, or none any more; a session none that could be erased."""

    def __init__(self, stream: str, version: int, type: str, *, erased: bool) -> None:  # noqa: A002 - the field's name
        if erased:
            words = f"version {version} ({type}) of session {stream!r} was erased before"
        elif type:
            words = f"version {version} ({type}) of session {stream!r} holds no text to erase"
        else:
            words = f"session {stream!r} holds no text to erase"
        super().__init__(words)
        self.stream = stream
        self.version = version


class SharedEvents(StoreError):
    """Other sessions share what was to be erased. Nothing was written; ``forks`` names them."""

    def __init__(self, stream: str, forks: tuple[str, ...]) -> None:
        super().__init__(
            f"other sessions share these events of {stream!r}, and would lose the texts too: "
            f"{', '.join(forks)}; erase with forks=True if that is meant"
        )
        self.stream = stream
        self.forks = forks


class InvalidExport(StoreError):
    """A serialized session that is not whole: edited, reordered, cut, or of another format.

    ``version`` is the place of the first event found wrong, 0 for the envelope; ``line`` is that
    of a file of lines, else 0.
    """

    def __init__(self, reason: str, *, version: int = 0, line: int = 0, advice: str = "") -> None:
        place = f"line {line}" if line else f"event {version}" if version else "export"
        super().__init__(f"{place}: {reason}. Nothing was imported. {advice}".rstrip())
        self.reason = reason
        self.version = version
        self.line = line


class InvalidNote(StoreError):
    """A signed head or a key that cannot be relied on: changed, or of another key or log."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"signed note or key: {reason}; use one from a copy that you trust")
        self.reason = reason
