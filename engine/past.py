"""What a session was, and what it could have been: seen, compared, replayed, taken again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

import msgspec

from agent.engine.bound import Bound
from agent.engine.departure import Way, departure
from agent.engine.edits import Edit, with_system
from agent.engine.past_requests import past_request_of, request_at
from agent.engine.plan import Plan, plan_of
from agent.engine.replay import Replay, replay
from agent.engine.rerun import Prepared, Rerun, RerunOptions, after, prepare_rerun, wish_of
from agent.engine.streams import AsyncStream, Stream, check_loop
from agent.engine.view import View
from agent.eventstore.errors import AgentError, AttachmentMissing
from agent.eventstore.messages import FilePart, ImagePart, Link

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from agent.engine.agent import Agent
    from agent.engine.handle import Handle
    from agent.engine.past_requests import PastRequest
    from agent.engine.stream import Response
    from agent.eventstore.record import Recorded
    from agent.projections.diff import Difference


class Past(Bound):
    """What can be done with the events of a session without changing it."""

    def __init__(self, agent: Agent, handle: Handle) -> None:
        self._agent = agent
        self._handle = handle

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

    def replay(
        self,
        agent: Agent | None = None,
        *,
        system: str | msgspec.UnsetType | None = msgspec.UNSET,
        edit: Edit | None = None,
        schemas: Sequence[type[Any] | TypeAdapter[Any]] = (),
    ) -> Replay:
        """Drive the engine of today over this session, offline, up to what would be different.

        With an ``agent``, turns are taken as it would take them today: its provider, model, tools,
        settings and limits, but for what was chosen for a turn alone. Without one they are
        configured as they were, so that only the library itself is tried. ``system`` is another
        system prompt, ``edit`` other content by version: of a prompt, a message, an answer, a
        tool's result. ``schemas`` are the types that ``json`` is given today; other shapes are
        taken as recorded, with their verdicts.

        Every answer and result is served from the log: no model is asked, no tool run, nothing
        written. Raises :class:`UnknownProvider` and :class:`ConfigurationError`.
        """
        facts = list(self._handle.events())
        edits = {**({} if system is msgspec.UNSET else with_system(facts, system)), **(edit or {})}
        return replay(
            facts,
            self._handle.log.get_blob,
            today=None if agent is None else agent.configuration(schemas),
            provider=self._handle.provider,
            edits=edits,
        )

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

    def attachment(self, part: ImagePart | FilePart) -> bytes:
        """The bytes of an image or file of the history.

        Raises :class:`AttachmentMissing` when the session does not hold them, as for links.
        """
        if isinstance(part.source, Link):
            raise AttachmentMissing(part.source.url)
        return part.source.data or self._handle.log.get_blob(part.source.digest)
