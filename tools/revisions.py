"""Revisions: the words by which a session, a version of it or a range of its events is named.

::

    trip            the session, as it is now; any unique beginning of its id will do
    @               the session that was changed last
    trip@12         after its first 12 events
    trip~2          before its last 2 turns; also trip@12~2
    trip@4..12      the events after version 4 up to version 12; also trip@4.. and ..trip@12
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from agent.engine.errors import ConfigurationError
from agent.eventstore.events import TurnStarted
from agent.tools.exits import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.eventstore.log import EventLog
    from agent.eventstore.record import Head, Recorded

_REVISION = re.compile(
    r"(?P<session>@(?=[@~]|\Z)|.+?)(?:@(?P<version>\d{1,18}))?(?:~(?P<turns>\d{0,9}))?", re.DOTALL
)
_BOUND = re.compile(r"@?(?P<version>\d{1,18})")
_LISTED = 10
_PAGE = 512


class Revision(NamedTuple):
    """A revision as it was written: ``session`` may be the beginning of an id."""

    session: str
    version: int | None = None
    turns: int = 0


class Place(NamedTuple):
    """A version of a session that is there."""

    session: str
    version: int

    def __str__(self) -> str:
        return f"{self.session}@{self.version}"


class Span(NamedTuple):
    """The events ``after < version <= until`` of a session."""

    session: str
    after: int
    until: int


def parse(text: str) -> Revision | None:
    """What a text names, None if it is no revision. Whether there is such a session is not asked.

    >>> parse("trip@12~2")
    Revision(session='trip', version=12, turns=2)
    """
    found = _REVISION.fullmatch(text)
    if found is None:
        return None
    version, turns = found["version"], found["turns"]
    steps = 0 if turns is None else int(turns or 1)
    return Revision(found["session"], int(version) if version else None, steps)


def resolve(log: EventLog, text: str) -> Place:
    """The version that a text names. An id that is written out wins over any other reading.

    Raises :class:`NotFound` with the candidates, and :class:`CorruptLog` for a damaged session.
    """
    head = _head(log, text)
    if head is not None:
        return Place(text, head.version)
    revision = parse(text)
    if revision is None:
        raise NotFound(f"{text!r} names no session")
    session, last = _session(log, revision.session)
    version = last if revision.version is None else revision.version
    if version > last:
        raise NotFound(f"session {session} has versions 1 to {last}, not {version}")
    return Place(session, _turns_back(log, session, version, revision.turns))


def names_version(log: EventLog, text: str) -> bool:
    """Whether a text names a version of a session, not the session as it is now."""
    revision = None if _head(log, text) is not None else parse(text)
    return revision is not None and (revision.version is not None or revision.turns > 0)


def resolve_session(log: EventLog, text: str) -> str:
    """The session that a text names, for what can only be done where it is now.

    Raises as :func:`resolve`, and :class:`ConfigurationError` for a version.
    """
    place = resolve(log, text)
    if names_version(log, text):
        raise ConfigurationError(
            f"{text} is a version, and this goes on where a session is now; branch off "
            f"first: agent fork {place}"
        )
    return place.session


def resolve_span(log: EventLog, text: str) -> Span:
    """The events that a text names: those of a range, or all up to a revision."""
    left, dots, right = text.rpartition("..")
    if not dots or _head(log, text) is not None:
        session, version = resolve(log, text)
        return Span(session, 0, version)
    if not left:
        session, version = resolve(log, right)
        return Span(session, 0, version)
    first = resolve(log, left)
    bound = _BOUND.fullmatch(right)
    if bound and _head(log, right) is None:
        right = f"{first.session}@{bound['version']}"
    last = resolve(log, right or first.session)
    if last.session != first.session:
        raise NotFound(f"{first} and {last} are of two sessions; agent diff compares them")
    return Span(first.session, first.version, last.version)


def _head(log: EventLog, name: str) -> Head | None:
    """The head of the session of just this name; an argument that is no text names none."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return None
    return log.head(name) if name else None


def _session(log: EventLog, name: str) -> tuple[str, int]:
    """The session of this name, or the only one that begins with it, and its last version."""
    head = _head(log, name)
    if head is not None:
        return name, head.version
    known = list(log.streams())
    if name == "@":
        found = sorted(known, key=lambda info: info.updated_at)[-1:]
    else:
        found = [info for info in known if info.stream.startswith(name)]
    if len(found) > 1:
        listed = _listed([info.stream for info in found])
        raise NotFound(f"{name!r} could be {listed}")
    if not found:
        raise NotFound(_missing(name, [info.stream for info in known]))
    head = found[0].head or log.head(found[0].stream)
    return found[0].stream, head.version if head else 0


def _missing(name: str, known: list[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - slow to import

    if not known:
        return "the log has no sessions"
    near = get_close_matches(name, known)
    advice = f"did you mean {_listed(near)}?" if near else f"there are {_listed(known)}"
    return f"there is no session {name!r}; {advice}"


def _listed(names: list[str]) -> str:
    more = [f"{len(names) - _LISTED} more"] if len(names) > _LISTED else []
    return ", ".join([*names[:_LISTED], *more])


def _turns_back(log: EventLog, session: str, version: int, turns: int) -> int:
    """The version before the last turns of the log; a compaction is none."""
    left = turns
    for fact in backwards(log, session, version, "turn.started") if turns else ():
        if isinstance(fact.event, TurnStarted) and fact.event.kind == "user":
            left -= 1
            if not left:
                return fact.version - 1
    if left:
        raise NotFound(f"{session}@{version} has {turns - left} turns, and none {turns} back")
    return version


def backwards(log: EventLog, session: str, until: int, kind: str) -> Iterator[Recorded]:
    """The events of a type up to a version, the last first. What is not asked for is not read."""
    while until > 0:
        after = max(until - _PAGE, 0)
        yield from reversed(list(log.read(session, after=after, until=until, types=(kind,))))
        until = after
