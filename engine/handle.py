"""A session's hold on its stream: loading, catching up, appending, forking, one turn at a time.

This is where the log is touched: everything above works on projected state.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, assert_never

from agent.engine.drivers import end
from agent.engine.effects import (
    Append,
    CatchUp,
    Load,
    LoadAttachments,
    Save,
    StoreEffect,
)
from agent.engine.errors import HistoryExists, SessionBusy, TurnOpen
from agent.engine.journal import Journal
from agent.engine.logs import log_appended
from agent.engine.request import RequestBuilder
from agent.engine.turn import Ask, Setup, Steps, take_turn
from agent.eventstore.errors import ConflictError, UnknownStream
from agent.eventstore.events import (
    Event,
    MessageAdded,
    MetadataChanged,
    SessionForked,
    SessionStarted,
    SystemChanged,
    parts_of,
)
from agent.eventstore.log import Durability
from agent.eventstore.messages import blobs_of
from agent.eventstore.rawjson import EMPTY_OBJECT
from agent.eventstore.record import record
from agent.eventstore.version import library_version
from agent.projections import session as projection
from agent.projections.fold import replay
from agent.projections.session import SessionState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import msgspec

    from agent.engine.provider import Provider
    from agent.engine.run import Run
    from agent.engine.stream import Response
    from agent.eventstore.log import EventLog
    from agent.eventstore.messages import Message
    from agent.eventstore.record import Recorded

T = TypeVar("T")

_CATCH_UPS = 8
"""How often the start of a turn follows other writers before it gives up."""


class Wanted(NamedTuple):
    """What the caller of ``agent.session()`` asked for; None leaves what the log says."""

    system: str | None = None
    metadata: msgspec.Raw | None = None
    messages: Sequence[Message] = ()


class Binding(NamedTuple):
    """Where a session lives: a log, its key there, and a store that wants whole sessions."""

    log: EventLog
    key: str
    load: Callable[[str], None] | None = None
    save: Callable[[Handle], None] | None = None


class Handle:
    """One session, as one process holds it. Reading it never writes."""

    def __init__(
        self,
        binding: Binding,
        setup: Setup,
        wanted: Wanted = Wanted(),  # noqa: B008 - immutable
        state: SessionState | None = None,
    ) -> None:
        self.binding = binding
        self.setup = setup
        self._wanted = wanted
        self._journal = Journal(binding.key, state, setup.sources) if state else None
        self._requests = RequestBuilder()
        self._active: Run[Any] | None = None
        self._loading = threading.Lock()
        self._claiming = threading.Lock()

    # Reading

    @property
    def log(self) -> EventLog:
        """The log that holds the session."""
        return self.binding.log

    @property
    def provider(self) -> Provider:
        """Who is asked."""
        return self.setup.provider

    @property
    def blocking(self) -> bool:
        """Whether store effects wait for a disk or a network."""
        return self.log.durability is not Durability.MEMORY or self.binding.save is not None

    @property
    def journal(self) -> Journal:
        """The session's state, loaded when first needed."""
        if self._journal is None:
            with self._loading:
                if self._journal is None:
                    self._journal = self._load()
        return self._journal

    def _load(self) -> Journal:
        if self.binding.load is not None:
            self.binding.load(self.binding.key)
        state = replay(projection.evolve, self.log.read(self.binding.key), SessionState())
        return self._opened(state)

    @property
    def state(self) -> SessionState:
        """The session as it is; a new one as if it were already in the log."""
        return self.journal.shown

    def events(self, until: int | None = None) -> Iterator[Recorded]:
        """The events, those included with which a new session will begin."""
        journal = self.journal
        last = journal.shown.version if until is None else until
        opening = journal.opening
        yield from self.log.read(self.binding.key, until=min(last, journal.committed.version))
        yield from (fact for fact in opening if fact.version <= last)

    def _opened(self, state: SessionState) -> Journal:
        """A journal with what the caller wants to be different already recorded."""
        journal = Journal(self.binding.key, state, self.setup.sources)
        wanted, now = self._wanted, state.conversation
        if wanted.messages and (len(now.transcript) or now.turn):
            raise HistoryExists(
                f"session {self.binding.key!r} already has a history; "
                "open it without messages=, or use another session_id"
            )
        if not state.version:
            journal.record(self._started())
        else:
            if wanted.system is not None and (wanted.system or None) != now.system:
                journal.record(SystemChanged(system=wanted.system or None))
            if wanted.metadata is not None and wanted.metadata != now.metadata:
                journal.record(MetadataChanged(metadata=wanted.metadata))
        for message in wanted.messages:
            journal.record(MessageAdded(message=message))
        journal.keep()
        return journal

    def _started(self) -> SessionStarted:
        wanted = self._wanted
        return SessionStarted(
            session_id=self.binding.key,
            system=wanted.system or None,
            metadata=EMPTY_OBJECT if wanted.metadata is None else wanted.metadata,
            library=library_version(),
        )

    # Writing

    def perform(self, effect: StoreEffect) -> Any:  # noqa: ANN401 - each effect has its own outcome
        """Perform a store effect of a turn."""
        match effect:
            case Load():
                _ = self.journal
            case Append():
                self._append(effect)
            case CatchUp():
                self.refresh()
            case LoadAttachments(digests):
                return {digest: self.log.get_blob(digest) for digest in digests}
            case Save():
                self.save()
            case _:
                assert_never(effect)
        return None

    def _append(self, append: Append) -> None:
        journal = self.journal
        for fact in append.events:
            for blob in blobs_of(parts_of(fact.event)):
                if blob.data is not None:
                    self.log.put_blob(blob.data)
        before = journal.committed
        self.log.append(self.binding.key, append.events, expected=before.head)
        journal.settle(append)
        self._wanted = Wanted()
        turn = append.state.conversation.turn or before.conversation.turn
        log_appended(self.binding.key, turn.started if turn else None, append.events)

    def change(self, *events: Event) -> None:
        """Append events outside of a turn. Raises :class:`ConflictError` on a stale handle."""
        self._settle_active()
        journal = self.journal
        turn = journal.committed.conversation.turn
        if turn is not None:
            raise TurnOpen(self.binding.key, turn.started)
        try:
            for event in events:
                journal.record(event)
            self.commit()
        except BaseException:
            journal.forget()
            raise
        self.save()

    def commit(self) -> None:
        """Make durable what is recorded."""
        for effect in self.journal.commit():
            self.perform(effect)  # pyright: ignore[reportArgumentType] - nothing is announced here

    def save(self) -> None:
        """Hand the session to a store that keeps whole sessions."""
        if self.binding.save is not None:
            self.binding.save(self)

    def refresh(self) -> None:
        """Fold what others have appended. Raises :class:`ConflictError` for another history."""
        journal = self.journal
        known = journal.committed
        if journal.pending:
            self._requests = RequestBuilder()
        if not known.version:
            self._journal = None
            return
        facts = list(self.log.read(self.binding.key, after=known.version - 1))
        if not facts:
            raise UnknownStream(
                f"session {self.binding.key!r} was deleted; open it anew to start over",
                stream=self.binding.key,
            )
        if facts[0].hash != known.hash:
            raise ConflictError(
                self.binding.key,
                expected=known.head,
                actual=self.log.head(self.binding.key),
                advice="It was deleted and made anew: open it again.",
            )
        self._journal = self._opened(replay(projection.evolve, facts[1:], known))

    # Turns

    def program(self, ask: Ask[T]) -> Steps[Response[T]]:
        """A turn that first follows a stream that others have moved on."""
        yield Load()
        for _ in range(_CATCH_UPS):
            journal = self.journal
            before = journal.committed
            try:
                response = yield from take_turn(journal, self._requests, ask, self.setup)
            except GeneratorExit:
                raise
            except BaseException as error:
                journal.forget()
                if not isinstance(error, ConflictError) or journal.committed is not before:
                    yield Save()
                    raise
                yield CatchUp()
            else:
                yield Save()
                return response
        raise SessionBusy(self.binding.key)

    def claim(self, run: Run[Any]) -> None:
        """Make this the session's turn; one that nobody is advancing is abandoned.

        Raises :class:`SessionBusy` if the present one is being advanced.
        """
        with self._claiming:
            self._settle_active()
            self._active = run

    def _settle_active(self) -> None:
        active = self._active
        if active is None or active.over:
            return
        if not active.baton.acquire(blocking=False):
            raise SessionBusy(self.binding.key)
        try:
            active.superseded = True
            end(active, self, GeneratorExit())
        finally:
            active.baton.release()

    # Forks and other versions

    def fork(self, key: str, at: int | None) -> Handle:
        """A session that shares the first ``at`` events of this one, by default up to now."""
        if not self.journal.committed.version:
            self.commit()
        known = self.journal.committed
        version = known.conversation.settled if at is None else at
        here = version == known.version
        state = known.branch() if here else self.state_at(version)
        child = Handle(self.binding._replace(key=key), self.setup, state=self._fork(key, state))
        if here and (self._active is None or self._active.over):
            child._requests = self._requests.branch()
        child.save()
        return child

    def _fork(self, key: str, state: SessionState) -> SessionState:
        """Write the fork point; returns the child's state."""
        event = SessionForked(
            session_id=key,
            parent=state.conversation.session_id,
            at=state.version,
            parent_hash=state.hash.hex(),
        )
        prepared = self.setup.sources.prepare(event)
        try:
            self.log.fork(self.binding.key, key, at=state.version, prepared=prepared)
        except ConflictError as error:
            raise ConflictError(
                key, expected=None, actual=error.actual, advice="Choose another session_id."
            ) from error
        (fact,) = record([prepared], stream=key, after=state.head)
        return projection.evolve(state, fact)

    def state_at(self, version: int) -> SessionState:
        """The session at one of its versions. Raises :class:`UnknownStream` if there is none."""
        last = self.state.version
        if not 1 <= version <= last:
            raise UnknownStream(
                f"session {self.binding.key!r} has versions 1 to {last}, not {version}",
                stream=self.binding.key,
            )
        return replay(projection.evolve, self.events(version), SessionState())
