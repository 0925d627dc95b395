"""A stream as one JSON-safe dictionary, and back: serialization is the event stream itself.

::

    {"format": "agent-session", "format_version": 1, "session_id": ..., "version": n,
     "hash": hex, "library": ...,
     "events": [{"version": 1, "type": ..., "schema": 1, "recorded_at": ns, "codec": 1,
                 "salt": hex, "hash": hex, "payload": "{...}"}, ...],
     "attachments": {sha256 hex: base64},
     "digest": hex}

A payload is the stored JSON text in one string, because a re-encoded object would not match its
hash. An erased event has ``"digest"`` instead of a salt, and its payload is what is left of it. An
export holds the inherited prefix and all attachments; it revives no classes and is checked whole
before anything is written.

``digest`` closes it: SHA-256 over all other fields as JSON in ASCII with sorted keys and no spaces.
It finds a slip outside of the chain too; whoever edits on purpose can make it anew.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

import msgspec

from agent.eventstore import core
from agent.eventstore.codec import CODEC
from agent.eventstore.errors import (
    AttachmentMissing,
    ConflictError,
    CorruptLog,
    InvalidAppend,
    InvalidEvent,
    InvalidExport,
    UnknownEvent,
)
from agent.eventstore.events import SessionForked, SessionStarted, parts_of
from agent.eventstore.messages import blobs_of
from agent.eventstore.record import Head, Recorded, record
from agent.eventstore.residue import Residues, residue_of
from agent.eventstore.version import library_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from agent.eventstore.log import EventLog
    from agent.eventstore.record import Prepared

FORMAT: Final = "agent-session"
FORMAT_VERSION: Final = 1

_COPY = "It was changed after it was written: use another copy."

_HUGE = 10**9
"""A number that nobody wants to read in an error."""

_BLOB = re.compile(rb'"kind":"blob","digest":"([0-9a-f]{64})"')


class Entry(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One event of an export; binary fields in hex."""

    version: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    type: str
    schema: int
    recorded_at: int
    codec: int
    hash: str
    payload: str
    salt: str | None = None
    digest: str | None = None


E = TypeVar("E", bound=Entry)


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    format: Literal["agent-session"]
    format_version: Literal[1]
    session_id: str
    version: int
    hash: str
    library: str
    events: list[object]
    attachments: dict[str, str]
    digest: str


class _Identity(msgspec.Struct):
    """The one field that is read of an event that a later release wrote."""

    session_id: str


class Export(msgspec.Struct, frozen=True):
    """A checked export: the session's id, and its events chained from version 1.

    The bytes of attachments came along with the events that name them.
    """

    session_id: str
    recorded: list[Recorded]

    @property
    def head(self) -> Head:
        """The head of the exported stream."""
        return self.recorded[-1].head

    def fork_event(self, session_id: str) -> SessionForked:
        """The event with which these events become the prefix of another session."""
        version, digest = self.head.version, self.head.hash.hex()
        return SessionForked(
            session_id=session_id, parent=self.session_id, at=version, parent_hash=digest
        )

    def continued(self, prepared: Prepared) -> Export:
        """The same with one more event."""
        more = record([prepared], stream=self.session_id, after=self.head)
        recorded = [*self.recorded, *more]
        return Export(session_id_of(recorded), recorded)


def session_id_of(recorded: Iterable[Recorded]) -> str:
    """The id that a stream gives itself: that of its start, or of its last fork."""
    session_id = ""
    for fact in recorded:
        if fact.type in (core.STARTED, core.FORKED):
            session_id = _own_id(fact) or session_id
    return session_id


def _own_id(fact: Recorded) -> str | None:
    try:
        event = fact.event
    except UnknownEvent:
        with suppress(msgspec.MsgspecError):
            return msgspec.json.decode(fact.payload, type=_Identity).session_id
        return None
    assert isinstance(event, SessionStarted | SessionForked)  # noqa: S101 - the types asked for
    return event.session_id


def export_events(recorded: Sequence[Recorded], log: EventLog) -> dict[str, Any]:
    """Serialize a whole stream; attachments are fetched from ``log``."""
    envelope = _Envelope(
        FORMAT,
        FORMAT_VERSION,
        session_id_of(recorded),
        recorded[-1].version,
        recorded[-1].hash.hex(),
        library_version(),
        [msgspec.to_builtins(entry_of(fact, Entry)) for fact in recorded],
        {digest: base64.b64encode(data).decode() for digest, data in fetched(recorded, log, set())},
        "",
    )
    data = msgspec.to_builtins(envelope)
    return {**data, "digest": export_digest(data)}


def export_digest(data: Mapping[str, Any]) -> str:
    """The digest that closes an export, from its other fields.

    Raises ``ValueError``, ``TypeError`` or ``RecursionError`` for what is no JSON.
    """
    fields = {name: value for name, value in data.items() if name != "digest"}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def fetched(
    recorded: Iterable[Recorded], log: EventLog, seen: set[str]
) -> Iterator[tuple[str, bytes]]:
    """The attachments that events name, by digest, without those that were ``seen`` before."""
    for fact in recorded:
        if b'"blob"' not in fact.payload:
            continue
        try:
            wanted = {blob.digest: blob.data for blob in blobs_of(parts_of(fact.event))}
        except UnknownEvent:
            wanted = dict.fromkeys(_held(_BLOB.findall(fact.payload), log))
        for digest in wanted.keys() - seen:
            seen.add(digest)
            data = wanted[digest]
            yield digest, log.get_blob(digest) if data is None else data


def _held(names: Iterable[bytes], log: EventLog) -> list[str]:
    """What an event that only a later release can read seems to name, and the log has."""
    held: list[str] = []
    for name in names:
        with suppress(AttachmentMissing):
            log.get_blob(name.decode())
            held.append(name.decode())
    return held


def entry_of(fact: Recorded, kind: type[E]) -> E:
    """An event as it is exported. Raises :class:`CorruptLog` for text that is none."""
    try:
        return kind(
            fact.version,
            fact.type,
            fact.schema,
            fact.recorded_at,
            fact.codec,
            fact.hash.hex(),
            fact.payload.decode(),
            fact.salt.hex() if fact.salt is not None else None,
            fact.erased_digest.hex() if fact.erased_digest is not None else None,
        )
    except (UnicodeDecodeError, AttributeError) as error:  # a damaged row may hold any type
        reason = f"{fact.type} is no text: {error}"
        raise CorruptLog(reason, stream=fact.stream, version=fact.version) from error


def parse_entries(data: Mapping[str, Any]) -> list[Recorded]:
    """The events of an export, each as it stands there. Raises :class:`InvalidExport`."""
    return _entries(_envelope(data))


def _entries(envelope: _Envelope) -> list[Recorded]:
    return [
        _recorded(entry, place, envelope.session_id)
        for place, entry in enumerate(envelope.events, start=1)
    ]


def parse_export(data: Mapping[str, Any]) -> Export:
    """Check an export whole: format, order, chain, attachments. Raises :class:`InvalidExport`."""
    envelope = _envelope(data)
    recorded = _entries(envelope)
    _check_chain(recorded, envelope)
    attachments = _attachments(envelope)
    unused = set(attachments)
    for fact, blob in core.attachments(recorded):
        content = attachments.get(blob.digest)
        if content is None:
            raise InvalidExport(f"attachment {blob.digest} is missing", version=fact.version)
        if len(content) != blob.size:
            reason = f"attachment {blob.digest} has not the {blob.size} bytes that it should"
            raise InvalidExport(reason, version=fact.version)
        blob.bringing(content)
        unused.discard(blob.digest)
    if unused:
        raise InvalidExport(f"no event names the attachment {min(unused)}")
    _check_digest(data)
    return Export(envelope.session_id, recorded)


def _check_digest(data: Mapping[str, Any]) -> None:
    try:
        intact = export_digest(data) == data["digest"]
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidExport(f"it is no JSON: {error}") from error
    if not intact:
        raise InvalidExport("it does not match the digest that closes it", advice=_COPY)


def _envelope(data: Mapping[str, Any]) -> _Envelope:
    if not isinstance(data, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - user input
        raise InvalidExport(
            f"a dictionary from session.to_dict() is expected, not a {type(data).__name__}; "
            "text needs json.loads first"
        )
    if data.get("format") != FORMAT:
        raise InvalidExport(f"this is no {FORMAT!r} export, which session.to_dict() makes")
    version = data.get("format_version")
    if type(version) is int and version > FORMAT_VERSION:
        later = f"format version {version}" if version < _HUGE else "its format version"
        raise InvalidExport(
            f"{later} is later than {FORMAT_VERSION}; "
            "import it with the release that wrote it, or a later one"
        )
    try:
        envelope = msgspec.convert(data, _Envelope)
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        raise InvalidExport(str(error)) from error
    if not envelope.events:
        raise InvalidExport("it holds no events")
    return envelope


def recorded_of(entry: Entry, stream: str) -> Recorded:
    """The event that an entry holds. Raises ``ValueError`` for a field that does not decode."""
    return Recorded(
        entry.type,
        entry.schema,
        entry.recorded_at,
        entry.codec,
        _bytes(entry.salt) if entry.salt is not None else None,
        entry.payload.encode(),
        _bytes(entry.digest) if entry.digest is not None else None,
        stream=stream,
        version=entry.version,
        hash=_bytes(entry.hash),
    )


def _recorded(data: object, place: int, stream: str) -> Recorded:
    try:
        return recorded_of(msgspec.convert(data, Entry), stream)
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        raise InvalidExport(f"a field does not decode: {error}", version=place) from error


def _bytes(text: str) -> bytes:
    """Decode hex as an export writes it: in lower case, without spaces."""
    data = bytes.fromhex(text)
    if data.hex() != text:
        raise ValueError(f"{text!r} is not plain hex")
    return data


def _check_chain(recorded: list[Recorded], envelope: _Envelope) -> None:
    residues = Residues()
    try:
        for fact in core.verified(recorded, stream=envelope.session_id):
            check_payload(fact)
            for place, reason in residues.see(fact):
                raise InvalidExport(reason, version=place.version, advice=_COPY)
        core.to_append(envelope.session_id, recorded, None)
    except CorruptLog as error:
        raise InvalidExport(error.reason, version=error.version, advice=_COPY) from error
    except InvalidAppend as error:
        raise InvalidExport(str(error)) from error
    last = recorded[-1]
    if (envelope.version, envelope.hash) != (last.version, last.hash.hex()):
        raise InvalidExport("it was cut, or events were added at its end", advice=_COPY)
    if envelope.session_id != session_id_of(recorded):
        raise InvalidExport("the session id is not that of the events")


def check_payload(fact: Recorded) -> None:
    """Refuse an event that no log could take. Raises :class:`InvalidExport`, or as ``event``."""
    if (fact.salt is None) is not fact.erased:
        raise InvalidExport("needs either a salt or a digest", version=fact.version)
    try:
        CODEC.check(fact.event)
    except InvalidEvent as error:
        raise InvalidExport(error.reason, version=fact.version) from error
    if fact.erased and residue_of(fact.event) != fact.event:
        raise InvalidExport("was erased, and still holds a text", version=fact.version)


def _attachments(envelope: _Envelope) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for digest, text in envelope.attachments.items():
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidExport(f"attachment {digest} does not decode: {error}") from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise InvalidExport(f"attachment {digest} has other content than its name says")
        found[digest] = data
    return found


def import_events(log: EventLog, stream: str, export: Export) -> Head:
    """Make ``stream`` hold these events, as rows of its own; append the missing tail if it exists.

    Never overwrites: raises :class:`ConflictError` when the stream is ahead or different.
    """
    actual = log.head(stream)
    if actual is not None:
        known = export.recorded[: actual.version][-1].head == actual
        check_prefix(log, stream, actual, export.head, known=known)
    tail = export.recorded[actual.version if actual else 0 :]
    return log.append(stream, tail, expected=actual) if tail else export.head


def holds(log: EventLog, stream: str, head: Head) -> bool:
    """Whether the stream has all events up to a head already, and perhaps more."""
    last = head.version
    return [fact.hash for fact in log.read(stream, after=last - 1, until=last)] == [head.hash]


def check_prefix(log: EventLog, stream: str, actual: Head, wanted: Head, *, known: bool) -> None:
    """Refuse to make ``wanted`` of a stream that is not at a beginning of it.

    ``known`` says whether ``actual`` is one of the heads that lead to ``wanted``. Raises
    :class:`ConflictError`.
    """
    if known:
        return
    if actual.version <= wanted.version:
        relation = "The stored session is a different one"
    elif holds(log, stream, wanted):
        relation = "The stored session is ahead"
    else:
        relation = "The stored session is different"
    raise ConflictError(
        stream,
        expected=wanted,
        actual=actual,
        advice=f"{relation}: load that one, import this one under a new session_id, "
        "or delete the stored one first.",
    )
