"""What a session was, and what it could have been: seen, compared, replayed, taken again."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from agent.engine.bound import Bound
from agent.engine.configurations import configuration_of, today_of
from agent.engine.departure import Way, departure
from agent.engine.edits import ReplayOptions, TodayOptions, edited, edits_of
from agent.engine.handover import Seen, as_markdown, as_messages
from agent.engine.past_requests import past_request_of, request_at
from agent.engine.plan import Plan, plan_of
from agent.engine.replay import Replay, replay
from agent.engine.rerun import Prepared, Rerun, RerunOptions, after, prepare_rerun, wish_of
from agent.engine.rewriting import rewritten
from agent.engine.streams import AsyncStream, Stream, check_loop
from agent.engine.view import View
from agent.eventstore.errors import AgentError, AttachmentMissing
from agent.eventstore.export import export_events
from agent.eventstore.messages import FilePart, ImagePart, Link
from agent.eventstore.verify import verify_stream

if TYPE_CHECKING:
    from agent.engine.agent import Agent
    from agent.engine.handle import Handle
    from agent.engine.past_requests import PastRequest
    from agent.engine.stream import Response
    from agent.eventstore.findings import Level, Verification
    from agent.eventstore.messages import Message
    from agent.eventstore.record import Recorded
    from agent.projections.diff import Difference
    from agent.projections.losses import Loss
    from agent.projections.usage import SessionUsage


class Past(Bound):
    """What a session shows: now, at any time, and otherwise. Nothing here changes it."""

    def __init__(self, agent: Agent, handle: Handle) -> None:
        self._agent = agent
        self._handle = handle

    @property
    def session_id(self) -> str:
        """The id under which the session was made or opened."""
        return self._handle.binding.key

    @property
    def version(self) -> int:
        """How many events are in the log, inherited ones included; 0 before the first write."""
        return self._handle.journal.committed.version

    @property
    def messages(self) -> list[Message]:
        """The history, a fresh list. An open turn is no part of it."""
        return View(self._handle.state).messages

    @property
    def system(self) -> str | None:
        """The system prompt."""
        return View(self._handle.state).system

    @property
    def metadata(self) -> dict[str, object]:
        """The application's own data about the session, a fresh dictionary."""
        return View(self._handle.state).metadata

    @property
    def usage(self) -> SessionUsage:
        """Tokens spent, own and inherited apart."""
        return View(self._handle.state).usage

    @property
    def parent(self) -> str | None:
        """The id of the session that this one was forked from."""
        return View(self._handle.state).parent

    def attachment(self, part: ImagePart | FilePart) -> bytes:
        """The bytes of an image or file of the history.

        Raises :class:`AttachmentMissing` when the session does not hold them, as for links.
        """
        if isinstance(part.source, Link):
            raise AttachmentMissing(part.source.url)
        return part.source.data or self._handle.log.get_blob(part.source.digest)

    def verify(self, *, level: Level = "chain") -> Verification:
        """Check the session's events as they are stored, the inherited ones included.

        The levels are those of ``store.verify``. Findings come as data, not as an error.
        """
        return verify_stream(self._handle.log, self._handle.binding.key, level=level)

    # In other words

    def to_markdown(self, at: int | None = None) -> str:
        """The session as a document for people, as it is or as it was at a version.

        It holds what the session shows: system prompt, messages, calls and their results, tokens
        and cost. Whatever was said stays in its place there. Raises :class:`UnknownStream` for a
        version that there is not.
        """
        return as_markdown(self._seen(at)).content

    def to_messages(self, format: str, at: int | None = None) -> dict[str, Any]:  # noqa: A002
        """The history in a provider's own words: fields of a request body, attachments included.

        ``format`` is a name that ``Agent(provider=...)`` takes. Signatures and the
        like go along for the model of that provider that was asked last, which the body then names.
        Attachments that the format does not take, or that are gone, are named in words. Raises
        :class:`UnknownProvider`, and :class:`UnknownStream` for a version that there is not.
        """
        return as_messages(self._seen(at), format).content

    def left_out(self, format: str, at: int | None = None) -> tuple[Loss, ...]:  # noqa: A002
        """What :meth:`to_markdown` ("markdown") or :meth:`to_messages` leave out of the session.

        :meth:`to_dict` leaves out nothing. Raises as they do.
        """
        seen = self._seen(at)
        taken = as_markdown(seen) if format == "markdown" else as_messages(seen, format)
        return taken.left_out

    def _seen(self, at: int | None) -> Seen:
        handle = self._handle
        state = handle.state if at is None else handle.state_at(at)
        return Seen(state, list(handle.events(state.version)), handle.log.get_blob)

    # At any time

    def at(self, version: int) -> View:
        """The session as it was after its first ``version`` events."""
        return View(self._handle.state_at(version))

    def diff(self, other: Past | View | int) -> Difference:
        """How another session, a view, or this one at a version, differs from this one now.

        What both have in common costs nothing, whatever its length; a version is read from the
        log. Raises :class:`UnknownStream` for a version that there is not.
        """
        match other:
            case Past():
                then = View(other._handle.state)  # noqa: SLF001 - of the same class
            case View():
                then = other
            case _:
                then = self.at(other)
        return View(self._handle.state).diff(then)

    def events(self) -> Iterator[Recorded]:
        """Every event, inherited ones first."""
        return self._handle.events()

    def request_at(self, version: int) -> PastRequest:
        """The model request that is recorded at a version, rebuilt to the byte from the log alone.

        ``proven`` says whether it has the recorded digest. No model is asked and no key is needed.
        Raises :class:`NoRequest` for a version that is none, :class:`UnknownStream` for one that
        there is not, and :class:`UnknownProvider` for a provider of one's own that is not this
        agent's.
        """
        return request_at(self._handle, version)

    def bisect(self, predicate: Callable[[View], bool]) -> int | None:
        """The first version from which on something is true of the session; None if it is not now.

        It is looked for by halves, in about as many steps as the version has binary digits. So
        what is true once has to stay true; otherwise the version that is found is one at which it
        is true, and was not at the one before. It is 1 for what was always true.
        """
        last = self._handle.journal.committed.version
        if not last or not predicate(self.at(last)):
            return None
        found = bisect_left(range(1, last), True, key=lambda at: bool(predicate(self.at(at))))  # noqa: FBT003
        return found + 1

    # Otherwise

    def replay(self, agent: Agent | None = None, **options: Unpack[ReplayOptions]) -> Replay:
        """Drive the engine of today over this session, offline, up to what would be different.

        With an ``agent``, turns are taken as it would take them today: its provider, model, tools,
        settings and limits, but for what was chosen for a turn alone. Without one they are
        configured as they were, so that only the library itself is tried.

        Every answer and result is served from the log: no model is asked, no tool run, nothing
        written. Of the agent's own code only its approval policies and ``schemas`` are called.
        What the log gives no reason for is taken as it was: that somebody had a history compacted,
        that a failed call was not tried again, how long everything took. Raises
        :class:`UnknownProvider`, :class:`ConfigurationError`, and :class:`StoreError` for events
        and attachments that cannot be read.
        """
        provider, schemas = self._handle.provider, options.get("schemas", ())
        configuration = configuration_of(agent, schemas, provider)
        facts = list(self._handle.events())
        edits = edits_of(facts, options)
        return replay(facts, self._handle.log.get_blob, configuration, edits, provider)

    def rewritten(self, agent: Agent, **options: Unpack[TodayOptions]) -> dict[str, Any]:
        """The session, as ``to_dict``, as the agent would record it today with the same answers.

        For a recording that is a test: its model and its tools are taken to have answered the
        same to what is asked today. What is not different stays as it is, to the byte. Nothing is
        asked or run, and this session stays as it is. Raises :class:`CannotRewrite` where today's
        code asks for what was never answered.
        """
        facts, log = list(self._handle.events()), self._handle.log
        facts = edited(facts, edits_of(facts, {**options}))
        today = today_of(agent, options.get("schemas", ()))
        return export_events(rewritten(facts, log.get_blob, today), log)

    @overload
    def rerun(
        self,
        at: int | None = None,
        *,
        dry_run: Literal[False] = False,
        **options: Unpack[RerunOptions],
    ) -> Rerun: ...
    @overload
    def rerun(
        self, at: int | None = None, *, dry_run: Literal[True], **options: Unpack[RerunOptions]
    ) -> Plan: ...
    def rerun(
        self, at: int | None = None, *, dry_run: bool = False, **options: Unpack[RerunOptions]
    ) -> Rerun | Plan:
        """Take a turn again, live and in a fork, with what the options change.

        It is the turn that was under way after the first ``at`` events, which goes on from there,
        or the one that came next; without ``at`` the first that an ``edit`` concerns, else the
        last. The model is asked by this session's agent. Tools do not run: recorded results are
        served while the model makes the same calls, unless ``tool_results`` says otherwise. Each
        call has a key of its own, as in every fork.

        ``dry_run`` only says what would be done. What ends the turn is the ``error`` of the result.
        Raises :class:`ConfigurationError`, :class:`UnknownStream`, and :class:`NoRecordedResult`
        for a call that was under way at ``at`` and has no result.
        """
        prepared = self._prepared(at, options)
        if dry_run:
            return self._plan(prepared, options)
        child = self._beginning(prepared, options.get("session_id"))
        try:
            outcome: Response[Any] | AgentError = Stream(child, prepared.order).finish()
        except AgentError as error:
            outcome = error
        return self._came_of(prepared, child, outcome, options)

    async def rerun_async(self, at: int | None = None, **options: Unpack[RerunOptions]) -> Rerun:
        """As :meth:`rerun`, without blocking the event loop."""
        check_loop()
        # In threads whatever the store: folding a long session takes its time.
        prepared = await asyncio.to_thread(self._prepared, at, options)
        name = options.get("session_id")
        child = await asyncio.to_thread(self._beginning, prepared, name)
        try:
            outcome: Response[Any] | AgentError = await AsyncStream(child, prepared.order).finish()
        except AgentError as error:
            outcome = error
        return await asyncio.to_thread(self._came_of, prepared, child, outcome, options)

    def _prepared(self, at: int | None, options: RerunOptions) -> Prepared:
        wish, mine = wish_of(at, options), self._handle
        if at is not None:
            mine.check_version(at)
        facts = list(self.events())
        if not facts:
            raise mine.deleted()
        return prepare_rerun(facts, wish, mine.setup, self._agent.model)

    def _beginning(self, prepared: Prepared, session_id: str | None) -> Handle:
        """The fork, as it is before the turn is taken."""
        child = self._handle.fork(self._agent.new_key(session_id), prepared.original.at)
        child.setup = prepared.setup
        child.intervene(lambda _: prepared.events, takeover=False)
        return child

    def _came_of(
        self,
        prepared: Prepared,
        child: Handle,
        outcome: Response[Any] | AgentError,
        options: RerunOptions,
    ) -> Rerun:
        setup, original = self._handle.setup, prepared.original
        child.setup = after(prepared, setup)
        facts = list(child.events())
        first = original.started - 1 if original.entered else original.at
        mine = (at for at in range(first, len(facts)) if facts[at].type == "turn.started")
        turn = facts[next(mine, len(facts)) :]
        failed = isinstance(outcome, AgentError)
        agent = self._agent.varied(child.setup, prepared.order.model)
        return Rerun(
            type(self)(agent, child),  # pyright: ignore[reportArgumentType] - a Session
            self._plan(prepared, options),
            None if failed else outcome,
            outcome if failed else None,
            departure(Way(original.facts, original.expected), Way(facts, turn), self._rebuilt),
            tuple(prepared.served.versions.values()),
        )

    def _plan(self, prepared: Prepared, options: RerunOptions) -> Plan:
        serving = options.get("tool_results", "recorded")
        return plan_of(prepared, serving, self._handle.log.get_blob)

    def _rebuilt(self, facts: Sequence[Recorded], asked: Recorded) -> PastRequest | None:
        return past_request_of(facts, asked, self._handle.provider, self._handle.log.get_blob)
