"""A session's hold on its stream: loading, catching up, appending, forking, one turn at a time.

This is where the log is touched: everything above works on projected state.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, assert_never

from agent.engine.ask import Setup
from agent.engine.compaction import close_compaction
from agent.engine.drivers import end
from agent.engine.effects import (
    Append,
    CatchUp,
    Load,
    LoadAttachments,
    RecallTurn,
    Save,
    StoreEffect,
)
from agent.engine.errors import NotSaved, SessionBusy, TurnOpen
from agent.engine.history import rewound
from agent.engine.journal import Journal
from agent.engine.logs import log_appended
from agent.engine.opening import Wanted, landed, opened
from agent.engine.past_states import PastStates
from agent.engine.request import RequestBuilder
from agent.engine.unfinished import check_owner
from agent.eventstore.errors import AgentError, ConflictError, UnknownStream
from agent.eventstore.events import Event, SessionForked, TurnStarted
from agent.eventstore.export import export_events
from agent.eventstore.log import Durability
from agent.eventstore.processes import renewed_in_children
from agent.eventstore.record import Head, record
from agent.eventstore.residue import PAYLOAD_ERASED
from agent.projections import conversation
from agent.projections import session as projection
from agent.projections.conversation import Conversation, Keyed
from agent.projections.fold import rebuild
from agent.projections.session import SessionState
from agent.projections.turn import Turn, begin

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from agent.engine.provider import Provider
    from agent.engine.run import Run
    from agent.eventstore.log import EventLog
    from agent.eventstore.record import Recorded

T = TypeVar("T")
V = TypeVar("V")


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
        self.requests = RequestBuilder()
        self._past = PastStates(self.log, self.binding.key)
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
        return opened(self._journal_of(self._past.load()), self._wanted)

    def _journal_of(self, state: SessionState) -> Journal:
        begun: frozenset[bytes] = self._journal.begun if self._journal else frozenset()
        return Journal(self.binding.key, state, self.setup.sources, begun)

    @property
    def state(self) -> SessionState:
        """The session as it is; a new one as if it were already in the log."""
        return self.journal.shown

    def events(self, until: int | None = None, after: int = 0) -> Iterator[Recorded]:
        """The events, those included with which a new session will begin."""
        journal = self.journal
        last = journal.shown.version if until is None else until
        opening = journal.opening
        durable = journal.committed.version  # after the opening, which another thread may commit
        yield from self.log.read(self.binding.key, after=after, until=min(last, durable))
        yield from (fact for fact in opening if max(durable, after) < fact.version <= last)

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
            case RecallTurn(keyed):
                return self._recall(keyed)
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
                close_compaction(journal, self.setup.sources.owner())
                event = decide(journal.state.conversation)
                self._write([] if event is None else [event])
            finally:
                journal.forget()

    def intervene(
        self, decide: Callable[[Conversation], Iterable[Event]], *, takeover: bool
    ) -> None:
        """Append what somebody decides about the unfinished turn, seen as it is now.

        Raises :class:`OwnerAlive` while another may be running it, unless it is taken over.
        """
        with self.exclusive():
            self._check_owner(takeover=takeover)
            turn = self.journal.committed.conversation.turn
            if turn is None or turn.owner is not None:
                self._end_active()  # a stream whose turn waits for a person may be read on
            self._catch_up()
            self._check_owner(takeover=takeover)
            self._write(decide(self.journal.state.conversation))

    def _check_owner(self, *, takeover: bool) -> None:
        turn = self.journal.committed.conversation.turn
        if turn is not None and not takeover:
            check_owner(self.binding.key, turn, self.setup.sources.owner())

    def _write(self, events: Iterable[Event]) -> None:
        """Record events and make them durable, and nothing at all if there are none."""
        journal, given = self.journal, list(events)
        if not given:
            return
        try:
            for event in given:
                journal.record(event)
            self.commit()
        except BaseException:
            journal.forget()
            raise
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
            self.requests = RequestBuilder()
        if not known.version:
            opening = journal.opening
            if landed(opening, self.log.read(self.binding.key, until=len(opening))):
                self._wanted = Wanted()
            self._journal = self._load()
            return
        if self.binding.load is not None:
            self.binding.load(self.binding.key)
        facts = list(self.log.read(self.binding.key, after=known.version - 1))
        if not facts:
            raise self.deleted()
        if facts[0].hash != known.hash:
            raise ConflictError(
                self.binding.key,
                expected=known.head,
                actual=self.log.head(self.binding.key),
                advice="It was deleted and made anew: open it again.",
            )
        if any(fact.type == PAYLOAD_ERASED for fact in facts[1:]):
            self.requests = RequestBuilder()
            self._journal = self._load()  # whatever was kept may hold what was erased
            return
        state = rebuild(projection.evolve, facts[1:], known)
        self._journal = opened(self._journal_of(state), self._wanted)

    # Turns

    def _recall(self, keyed: Keyed) -> Turn:
        """A turn as it was when it completed, from its own events alone."""
        first, *rest = self.log.read(
            self.binding.key, after=keyed.started - 1, until=keyed.completed - 1
        )
        if not isinstance(first.event, TurnStarted):
            raise self.deleted()
        before = Conversation(version=first.version, turn=begin(first.event, first))
        turn = rebuild(conversation.evolve, rest, before).turn
        if turn is None:
            raise self.deleted()
        return turn

    def claim(self, run: Run[Any]) -> None:
        """Make this the session's turn; one that nobody is advancing is abandoned.

        The caller holds the session exclusively.
        """
        self._end_active()
        self._active = run

    def cancel(self, reason: str) -> bool:
        """Have the turn end that is under way here; False if there is none."""
        active = self._active
        return active is not None and active.cancel(reason)

    def _end_active(self) -> None:
        active = self._active
        if active is not None and not active.over:
            active.superseded = active.held = True
            end(active, self, GeneratorExit())

    # Forks and other versions

    def rewind(self, to: int) -> None:
        """Show a settled version again. Raises :class:`UnknownStream`, :class:`CannotRewind`."""
        self.check_version(to)
        # As the log is, without the end of a cut compaction that only a rewind would write.
        self.change(lambda _: rewound(self.state.conversation, to))

    def fork(self, key: str, at: int | None) -> Handle:
        """A session that shares the first ``at`` events of this one, by default up to now.

        The fork of the present state shares it; any other is loaded when it is first used.
        """
        if not self.journal.committed.version:
            with self.exclusive():
                self.commit()
        known = self.journal.committed
        version = known.conversation.settled if at is None else at
        self.check_version(version)
        here = version == known.version and self.log.head(self.binding.key) == known.head
        head = Head(version, known.hash) if here else self._head_at(version)
        fact = self._fork(key, head)
        state = projection.evolve(known.branch(), fact) if here else None
        child = Handle(self.binding._replace(key=key), self.setup, state=state)
        if here:
            with suppress(SessionBusy), self.exclusive():
                if self.journal.committed is known:
                    child.requests = self.requests.branch()
        child.save()
        return child

    def _head_at(self, version: int) -> Head:
        for fact in self.log.read(self.binding.key, after=version - 1, until=version):
            return fact.head
        raise self.deleted()

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
            raise self.deleted()
        return export_events(recorded, self.log)

    def deleted(self) -> UnknownStream:
        """The error of a session that is in the log no more."""
        words = f"session {self.binding.key!r} was deleted; open it anew to start over"
        return UnknownStream(words, stream=self.binding.key)

    def state_at(self, version: int) -> SessionState:
        """The session at one of its versions. Raises :class:`UnknownStream` if there is none."""
        self.check_version(version)
        if version > self.journal.committed.version:  # as if it were in the log already
            return rebuild(projection.evolve, self.events(version), SessionState())
        return self._past.at(version)

    def check_version(self, version: int) -> None:
        """Raise :class:`UnknownStream` for a version that the session does not have."""
        last = self.state.version
        if type(version) is not int or not 1 <= version <= last:
            raise UnknownStream(
                f"session {self.binding.key!r} has versions 1 to {last}, not {version!r}",
                stream=self.binding.key,
            )
