"""The session: a conversation as its user holds it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, overload

import msgspec

from agent.engine.approvals import deciding, pending_approvals
from agent.engine.ask import Ask, Resume
from agent.engine.compaction import Compaction, Summarize, summarize
from agent.engine.history import added, undone
from agent.engine.output import Output
from agent.engine.past import Past
from agent.engine.prompts import Prompted, checked_message, message_of
from agent.engine.settings import TurnOptions, settings_of
from agent.engine.streams import AsyncStream, Stream
from agent.engine.unfinished import abandoning, decision, explained, resolving
from agent.eventstore.events import ApprovalGranted, ApprovalRejected, HistoryCleared
from agent.eventstore.messages import Message
from agent.eventstore.rawjson import check_text
from agent.eventstore.values import Settings

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from agent.engine.agent import Agent
    from agent.engine.approvals import PendingApproval
    from agent.engine.stream import Response
    from agent.engine.unfinished import UnfinishedTurn

T = TypeVar("T")


class Session(Past):
    """A conversation with a model, kept as a log of events.

    Made by :meth:`Agent.session <agent.Agent.session>`. What runs a turn appends every message,
    model call and tool call to the log as it happens; what reads only looks.
    """

    _instead = (
        "open it in the other place by its id, or hand over session.to_dict(); fork it to copy"
    )

    def __repr__(self) -> str:
        return f"<Session {self.session_id!r}>"

    # Turns

    def run(self, prompt: Prompted, **options: Unpack[TurnOptions]) -> Response[None]:
        """Take one turn and return the response.

        ``prompt`` is text, a user's message, or its parts. Raises :class:`AgentError`; the
        history is then as before. :class:`TurnUnfinished` says that an earlier turn never ended.
        A response with ``pending_approvals`` waits for :meth:`approve` and :meth:`resume`.
        """
        return Stream(self._handle, self._plain(prompt, options)).finish()

    async def run_async(self, prompt: Prompted, **options: Unpack[TurnOptions]) -> Response[None]:
        """As :meth:`run`, without blocking the event loop."""
        return await AsyncStream(self._handle, self._plain(prompt, options)).finish()

    def stream(self, prompt: Prompted, **options: Unpack[TurnOptions]) -> Stream[None]:
        """Take one turn and hand out its events as they happen; the last is ``done``.

        The history is updated when the stream completes.
        """
        return Stream(self._handle, self._plain(prompt, options, stream=True))

    async def stream_async(
        self, prompt: Prompted, **options: Unpack[TurnOptions]
    ) -> AsyncStream[None]:
        """As :meth:`stream`: ``async for event in await session.stream_async(...)``."""
        return AsyncStream(self._handle, self._plain(prompt, options, stream=True))

    def json(
        self, prompt: Prompted, schema: type[T] | TypeAdapter[T], **options: Unpack[TurnOptions]
    ) -> Response[T]:
        """Take one turn whose answer has a shape; ``response.output`` is the validated value.

        ``schema`` is a pydantic model or any type that pydantic can describe. Raises
        :class:`OutputError` when the model gives no answer that fits.
        """
        return Stream(self._handle, self._ask(prompt, options, Output(schema))).finish()

    async def json_async(
        self, prompt: Prompted, schema: type[T] | TypeAdapter[T], **options: Unpack[TurnOptions]
    ) -> Response[T]:
        """As :meth:`json`, without blocking the event loop."""
        ask = self._ask(prompt, options, Output(schema))
        return await AsyncStream(self._handle, ask).finish()

    def _plain(self, prompt: Prompted, options: TurnOptions, *, stream: bool = False) -> Ask[None]:
        no_shape: Output[None] | None = None
        return self._ask(prompt, options, no_shape, stream=stream)

    def _ask(
        self,
        prompt: Prompted,
        options: TurnOptions,
        output: Output[T] | None,
        *,
        stream: bool = False,
    ) -> Ask[T]:
        model, settings = self._chosen(options)
        key = options.get("idempotency_key")
        own = tuple(sorted(options.keys() - {"idempotency_key"}))
        return Ask(message_of(prompt), model, settings, stream, output, key, own)

    def _chosen(self, options: TurnOptions) -> tuple[str, Settings]:
        chosen: TurnOptions = {**self._agent.options, **options}
        return chosen.get("model") or self._agent.model, settings_of(chosen)

    def cancel(self, reason: str = "cancelled") -> bool:
        """End the turn that this object is taking; False if there is none.

        For another thread or task, a tool, or a signal handler; it does not wait. Whoever takes
        the turn gets :class:`TurnCancelled`, or the response if its last append is under way.
        """
        check_text(reason, of="reason", path="$")
        return self._handle.cancel(reason)

    # Unfinished turns

    @property
    def unfinished_turn(self) -> UnfinishedTurn | None:
        """Where the last turn stands if it did not complete and can be taken up again.

        A turn that failed or was abandoned can be until the next turn or change of the history.
        """
        setup = self._handle.setup
        return explained(self._handle.state.conversation, setup.tools, setup.sources.owner())

    @overload
    def resume(self, *, takeover: bool = False) -> Response[None]: ...
    @overload
    def resume(
        self, *, schema: type[T] | TypeAdapter[T], takeover: bool = False
    ) -> Response[T]: ...
    def resume(
        self, *, schema: type[Any] | TypeAdapter[Any] | None = None, takeover: bool = False
    ) -> Response[Any]:
        """Go on with the unfinished turn from where its log stops, and return its response.

        Recorded results are used, not repeated; a model call without an answer is made again.
        ``schema`` is that of a ``json`` turn. Raises :class:`OutcomeUnknown` for calls that wait
        for :meth:`resolve`, :class:`ApprovalPending` while nothing is decided of what waits for
        :meth:`approve`, :class:`OwnerAlive` unless ``takeover``, :class:`NothingUnfinished`.
        """
        return Stream(self._handle, self._resume(schema, takeover)).finish()

    @overload
    async def resume_async(self, *, takeover: bool = False) -> Response[None]: ...
    @overload
    async def resume_async(
        self, *, schema: type[T] | TypeAdapter[T], takeover: bool = False
    ) -> Response[T]: ...
    async def resume_async(
        self, *, schema: type[Any] | TypeAdapter[Any] | None = None, takeover: bool = False
    ) -> Response[Any]:
        """As :meth:`resume`, without blocking the event loop."""
        return await AsyncStream(self._handle, self._resume(schema, takeover)).finish()

    def resume_stream(self, *, takeover: bool = False) -> Stream[None]:
        """As :meth:`resume`, handing out the events of what is left as they happen."""
        return Stream(self._handle, self._resume(None, takeover, stream=True))

    async def resume_stream_async(self, *, takeover: bool = False) -> AsyncStream[None]:
        """As :meth:`resume_stream`: ``async for event in await ...``."""
        return AsyncStream(self._handle, self._resume(None, takeover, stream=True))

    def _resume(
        self,
        schema: type[Any] | TypeAdapter[Any] | None,
        takeover: bool,  # noqa: FBT001 - named by every caller of ours
        *,
        stream: bool = False,
    ) -> Resume[Any]:
        output = None if schema is None else Output(schema)
        return Resume(stream, self._agent.model, output, takeover)

    def abandon(self, reason: str = "abandoned", *, takeover: bool = False) -> None:
        """Close the open turn: the log keeps everything, the history stays as it was.

        Does nothing when no turn is open. Raises :class:`OwnerAlive` unless ``takeover``.
        """
        self._handle.intervene(partial(abandoning, reason=reason), takeover=takeover)

    def resolve(
        self,
        call_id: str,
        *,
        result: object = msgspec.UNSET,
        retry: Literal[True] | None = None,
        failed: str | None = None,
        takeover: bool = False,
    ) -> None:
        """Decide about a call whose outcome is unknown, for :meth:`resume` to go on.

        Either give its ``result`` as the tool would have returned it, or let it run again as a new
        call with ``retry=True``, or say why it ``failed``. Raises :class:`ConfigurationError` for
        a call that is not unknown, :class:`OwnerAlive` unless ``takeover``.
        """
        decided = decision(call_id, result, retry, failed)
        me = self._handle.setup.sources.owner()
        self._handle.intervene(partial(resolving, decided=decided, me=me), takeover=takeover)

    # Approvals

    @property
    def pending_approvals(self) -> tuple[PendingApproval, ...]:
        """The calls of the open turn that wait for a person."""
        return pending_approvals(self._handle.state.conversation.turn)

    def approve(self, call_id: str, *, digest: str | None = None, takeover: bool = False) -> None:
        """Allow a call that waits for a person, once and as it is, for :meth:`resume` to run it.

        ``digest`` is that of what the person was shown. Raises :class:`NotPending` for a call that
        does not wait or is another one, :class:`OwnerAlive` while other tools of the turn still
        run, unless ``takeover``, and :class:`ConflictError` when another decides at once.
        """
        granted = ApprovalGranted(call_id=call_id)
        decide = partial(deciding, decided=granted, digest=digest)
        self._handle.intervene(decide, takeover=takeover)

    def reject(self, call_id: str, reason: str = "", *, takeover: bool = False) -> None:
        """Refuse a call that waits for a person; the model is told so, and the ``reason``.

        Raises as :meth:`approve`.
        """
        check_text(reason, of="reason", path="$")
        rejected = ApprovalRejected(call_id=call_id, reason=reason)
        decide = partial(deciding, decided=rejected, digest=None)
        self._handle.intervene(decide, takeover=takeover)

    # History

    def add_message(self, message: Message, *more: Message) -> None:
        """Append a message to the history by hand; several at once are appended all or none.

        The results of tool calls come in one message, right after the calls. Raises
        :class:`InvalidPrompt` and :class:`PairingError` for what no history can hold,
        :class:`ConflictError` when others have moved the session on, :class:`TurnOpen` while a
        turn is open.
        """
        checked = [checked_message(one) for one in (message, *more)]
        self._handle.change(lambda now: added(now, checked))

    def clear(self) -> None:
        """Start over with an empty history. The system prompt stays, the log keeps everything.

        Raises :class:`ConflictError` and :class:`TurnOpen` as :meth:`add_message`.
        """
        self._handle.change(lambda _: [HistoryCleared()])

    def rewind(self, to: int) -> None:
        """Show again what version ``to`` showed: history, system prompt and tools.

        Also forward, to a version before a rewind: the log keeps everything. Metadata and usage
        stay. Raises :class:`CannotRewind` for a version inside of a turn, :class:`UnknownStream`
        for one that there is not, and :class:`ConflictError` and :class:`TurnOpen` as
        :meth:`add_message`.
        """
        self._handle.rewind(to)

    def undo(self, turns: int = 1) -> None:
        """Take the last turns out of the history, and what came after them.

        As :meth:`rewind` to the version before them, and undone by it. Raises
        :class:`CannotRewind` when the history has not so many turns.
        """
        self._handle.change(lambda now: undone(now, turns))

    def compact(
        self, keep_last: int = 4, instructions: str | None = None, model: str | None = None
    ) -> Compaction:
        """Let a summary, written by the model, stand for all but the last messages.

        At least ``keep_last`` messages stay as they are: calls are never parted from their
        results. ``instructions`` are added to what the model is told. The log keeps everything;
        :meth:`rewind` shows it again. With nothing to compact the model is not asked. Raises
        :class:`AgentError`; the history is then as before.
        """
        order = self._order(keep_last, instructions, model)
        return Stream(self._handle, order).finish().output

    async def compact_async(
        self, keep_last: int = 4, instructions: str | None = None, model: str | None = None
    ) -> Compaction:
        """As :meth:`compact`, without blocking the event loop."""
        order = self._order(keep_last, instructions, model)
        response = await AsyncStream(self._handle, order).finish()
        return response.output

    def _order(
        self, keep_last: int, instructions: str | None, model: str | None
    ) -> Summarize[Compaction]:
        options: TurnOptions = {} if model is None else {"model": model}
        return summarize(keep_last, instructions, *self._chosen(options))

    def refresh(self) -> None:
        """Show what other writers have appended since. The start of a turn does so by itself."""
        self._handle.refresh()

    def fork(self, session_id: str | None = None, at: int | None = None) -> Session:
        """Branch off a new session that shares this one's first ``at`` events.

        By default it shares everything up to the last completed turn. Costs the same at any
        length, and outlives this session's ``clear`` and deletion. Raises :class:`ConflictError`
        when the id is taken, :class:`UnknownStream` for a version that does not exist.
        """
        key = self._agent.new_key(session_id)
        return Session(self._agent, self._handle.fork(key, at))

    # Serialization

    def to_dict(self) -> dict[str, Any]:
        """The whole session, JSON-safe and verifiable: the event stream itself."""
        return self._handle.export()

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Any], agent: Agent, session_id: str | None = None
    ) -> Session:
        """A session from :meth:`to_dict`, independent of the one that it came from.

        With an agent that has a store, it is imported there: a missing tail is appended,
        :class:`ConflictError` is raised when the stored session is ahead or different. Under a new
        ``session_id`` it becomes a fork of its own. Raises :class:`InvalidExport`.
        """
        return cls(agent, agent.adopt(data, session_id))
