"""A session's hold on its stream: loading, catching up, appending, forking, one turn at a time.

This is where the log is touched: everything above works on projected state.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, assert_never

from agent.engine.compaction import (
    Compaction,
    Summarize,
    close_compaction,
    compact_when_due,
    take_compaction,
)
from agent.engine.drivers import end
from agent.engine.effects import (
    Append,
    CatchUp,
    Load,
    LoadAttachments,
    Save,
    StoreEffect,
)
from agent.engine.errors import NotSaved, SessionBusy, TurnOpen
from agent.engine.history import rewound
from agent.engine.journal import Journal
from agent.engine.logs import log, log_appended
from agent.engine.opening import Wanted, opened
from agent.engine.request import RequestBuilder
from agent.engine.turn import Ask, Setup, Steps, take_turn
from agent.eventstore.errors import AgentError, ConflictError, UnknownStream
from agent.eventstore.events import Event, SessionForked
from agent.eventstore.export import export_events
from agent.eventstore.log import Durability
from agent.eventstore.processes import renewed_in_children
from agent.eventstore.record import Head, record
from agent.projections import session as projection
from agent.projections.fold import replay
from agent.projections.session import SessionState

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from agent.engine.provider import Provider
    from agent.engine.run import Run
    from agent.engine.stream import Response
    from agent.eventstore.log import EventLog
    from agent.eventstore.record import Recorded
    from agent.projections.conversation import Conversation

T = TypeVar("T")
V = TypeVar("V")

_CATCH_UPS = 8
"""How often the start of a turn follows other writers before it gives up."""


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
        self.after_fork()
        self._journal = self._journal_of(state) if state else None
        renewed_in_children(self)

    def after_fork(self) -> None:
        """Begin anew in a child process: what its parent's threads were doing stays half done."""
        self._journal: Journal | None = None
        self._requests = RequestBuilder()
        self._active: Run[Any] | None = None
        self._user: dict[str, object] = {}
        self._loading = threading.RLock()

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
            with self._loading:  # reentrant: a signal handler may ask while this thread loads
                loaded = self._journal or self._load()
                self._journal = self._journal or loaded
        return self._journal

    def _load(self) -> Journal:
        if self.binding.load is not None:
            self.binding.load(self.binding.key)
        state = replay(projection.evolve, self.log.read(self.binding.key), SessionState())
        return opened(self._journal_of(state), self._wanted)

    def _journal_of(self, state: SessionState) -> Journal:
        return Journal(self.binding.key, state, self.setup.sources)

    @property
    def state(self) -> SessionState:
        """The session as it is; a new one as if it were already in the log."""
        return self.journal.shown

    def events(self, until: int | None = None) -> Iterator[Recorded]:
        """The events, those included with which a new session will begin."""
        journal = self.journal
        last = journal.shown.version if until is None else until
        opening = journal.opening
        durable = journal.committed.version  # after the opening, which another thread may commit
        yield from self.log.read(self.binding.key, until=min(last, durable))
        yield from (fact for fact in opening if durable < fact.version <= last)

    # Writing

    def perform(self, effect: StoreEffect) -> Any:  # noqa: ANN401 - each effect has its own outcome
        """Perform a store effect of a turn."""
        match effect:
            case Load():
                _ = self.journal
            case Append():
                self._append(effect)
            case CatchUp():
                self._catch_up()
            case LoadAttachments(digests):
                return {digest: self.log.get_blob(digest) for digest in digests}
            case Save():
                self.save()
            case _:
                assert_never(effect)
        return None

    def _append(self, append: Append) -> None:
        before = self.journal.committed
        try:
            self._land(append)
        except AgentError:
            raise
        except BaseException:
            # Ctrl-C may have come after the commit. A second append tells: the log knows a retry.
            with suppress(AgentError):
                self._land(append)
            raise
        turn = append.state.conversation.turn or before.conversation.turn
        log_appended(self.binding.key, turn.started if turn else None, append.events)

    def _land(self, append: Append) -> None:
        self.log.append(self.binding.key, append.events, expected=append.expected)
        self.journal.settle(append)
        self._wanted = Wanted()

    @contextmanager
    def exclusive(self) -> Generator[None]:
        """This handle for one caller: whoever advances or ends a turn, or changes the history.

        Raises :class:`SessionBusy`: one waits for nobody here, least of all for oneself.
        """
        me, user = object(), self._user
        try:
            # One call takes it, inside of the try: Ctrl-C finds no gap to leave it taken for ever.
            if user.setdefault("is", me) is not me:
                raise SessionBusy(self.binding.key)
            yield
        finally:
            if "is" in user and user["is"] is me:
                del user["is"]

    def change(self, decide: Callable[[Conversation], Event | None]) -> None:
        """Append what is decided on outside of a turn, if anything.

        Raises :class:`ConflictError` on a stale handle.
        """
        with self.exclusive():
            journal = self.journal
            try:
                close_compaction(journal)
                event = decide(journal.state.conversation)
                if event is None:
                    return
                journal.record(event)
                self.commit()
            finally:
                journal.forget()
            self.save()

    def _check_settled(self, state: SessionState) -> None:
        turn = state.conversation.turn
        if turn is not None:
            raise TurnOpen(self.binding.key, turn.started)

    def commit(self) -> None:
        """Make durable what is recorded."""
        for effect in self.journal.commit():
            self.perform(effect)  # pyright: ignore[reportArgumentType] - nothing is announced here

    def save(self) -> None:
        """Hand the session to a store that keeps whole sessions. Raises :class:`NotSaved`."""
        if self.binding.save is None:
            return
        try:
            self.binding.save(self)
        except Exception as error:
            raise NotSaved(self.binding.key, error) from error

    def refresh(self) -> None:
        """Fold what others have appended. Raises :class:`ConflictError` for another history."""
        with self.exclusive():
            if self._active is not None and not self._active.over:
                self._check_settled(self.journal.committed)
            self._catch_up()

    def _catch_up(self) -> None:
        journal = self.journal
        known = journal.committed
        if journal.pending:
            self._requests = RequestBuilder()
        if not known.version:
            self._journal = self._load()
            return
        if self.binding.load is not None:
            self.binding.load(self.binding.key)
        facts = list(self.log.read(self.binding.key, after=known.version - 1))
        if not facts:
            raise self._deleted()
        if facts[0].hash != known.hash:
            raise ConflictError(
                self.binding.key,
                expected=known.head,
                actual=self.log.head(self.binding.key),
                advice="It was deleted and made anew: open it again.",
            )
        state = replay(projection.evolve, facts[1:], known)
        self._journal = opened(self._journal_of(state), self._wanted)

    # Turns

    def program(self, ask: Ask[T]) -> Steps[Response[T]]:
        """A turn, and before it a compaction if one is due."""
        if self.setup.compact_at is not None:
            yield from self._compact_when_due(ask)
        return (
            yield from self._following(
                lambda journal: take_turn(journal, self._requests, ask, self.setup)
            )
        )

    def compaction(self, order: Summarize) -> Steps[Response[Compaction]]:
        """A compaction that was asked for."""
        return self._following(
            lambda journal: take_compaction(journal, self._requests, order, self.setup)
        )

    def _compact_when_due(self, ask: Ask[Any]) -> Steps[None]:
        """Compact a history that is too long. That it fails is no reason to fail the turn too."""
        try:
            yield from self._following(
                lambda journal: compact_when_due(journal, self._requests, ask, self.setup)
            )
        except AgentError as error:
            key = self.binding.key
            log("compaction.failed", level=logging.WARNING, session_id=key, error=str(error))

    def _following(self, take: Callable[[Journal], Steps[V]]) -> Steps[V]:
        """A turn that first follows a stream that others have moved on."""
        yield Load()
        tries = 0
        while True:
            tries += 1
            journal = self.journal
            before = journal.committed
            try:
                outcome = yield from take(journal)
            except GeneratorExit:
                raise
            except BaseException as error:
                journal.forget()
                late = isinstance(error, ConflictError) and journal.committed is before
                if not late or tries > _CATCH_UPS:
                    yield from _saved_after(error)
                    raise
                yield CatchUp()
            else:
                if journal.committed is not before:
                    yield Save()
                return outcome

    def claim(self, run: Run[Any]) -> None:
        """Make this the session's turn; one that nobody is advancing is abandoned.

        The caller holds the session exclusively.
        """
        active = self._active
        if active is not None and not active.over:
            active.superseded = active.held = True
            end(active, self, GeneratorExit())
        self._active = run

    # Forks and other versions

    def rewind(self, to: int) -> None:
        """Show a settled version again. Raises :class:`UnknownStream`, :class:`CannotRewind`."""
        self._check_version(to)
        self.change(lambda now: rewound(now, to))

    def fork(self, key: str, at: int | None) -> Handle:
        """A session that shares the first ``at`` events of this one, by default up to now.

        The fork of the present state shares it; any other is loaded when it is first used.
        """
        if not self.journal.committed.version:
            with self.exclusive():
                self.commit()
        known = self.journal.committed
        version = known.conversation.settled if at is None else at
        self._check_version(version)
        here = version == known.version
        head = Head(version, known.hash) if here else self._head_at(version)
        fact = self._fork(key, head)
        state = projection.evolve(known.branch(), fact) if here else None
        child = Handle(self.binding._replace(key=key), self.setup, state=state)
        if here:
            with suppress(SessionBusy), self.exclusive():
                if self.journal.committed is known:
                    child._requests = self._requests.branch()
        child.save()
        return child

    def _head_at(self, version: int) -> Head:
        for fact in self.log.read(self.binding.key, after=version - 1, until=version):
            return fact.head
        raise self._deleted()

    def _fork(self, key: str, head: Head) -> Recorded:
        """Write the fork point; returns the child's first own event."""
        if self.binding.load is not None:
            self.binding.load(key)
        event = SessionForked(
            session_id=key,
            parent=self.binding.key,
            at=head.version,
            parent_hash=head.hash.hex(),
        )
        prepared = self.setup.sources.prepare(event)
        try:
            self.log.fork(self.binding.key, key, at=head.version, prepared=prepared)
        except ConflictError as error:
            raise ConflictError(
                key, expected=None, actual=error.actual, advice="Choose another session_id."
            ) from error
        (fact,) = record([prepared], stream=key, after=head)
        return fact

    def export(self) -> dict[str, Any]:
        """The session serialized. Raises :class:`UnknownStream` if it was deleted."""
        recorded = list(self.events())
        if not recorded:
            raise self._deleted()
        return export_events(recorded, self.log)

    def _deleted(self) -> UnknownStream:
        words = f"session {self.binding.key!r} was deleted; open it anew to start over"
        return UnknownStream(words, stream=self.binding.key)

    def state_at(self, version: int) -> SessionState:
        """The session at one of its versions. Raises :class:`UnknownStream` if there is none."""
        self._check_version(version)
        return replay(projection.evolve, self.events(version), SessionState())

    def _check_version(self, version: int) -> None:
        last = self.state.version
        if type(version) is not int or not 1 <= version <= last:
            raise UnknownStream(
                f"session {self.binding.key!r} has versions 1 to {last}, not {version!r}",
                stream=self.binding.key,
            )


def _saved_after(error: BaseException) -> Steps[None]:
    """Save what a turn that ended in an error has left; the error is what the caller gets."""
    try:
        yield Save()
    except NotSaved as unsaved:
        error.add_note(str(unsaved))
