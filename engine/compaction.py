"""Compaction: a summary, written by the model, that stands for the older part of a history.

In the log it is a turn of its own: {turn.started, model.requested}, then {model.responded,
turn.completed, history.compacted}. One that ends in between has changed nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from agent.engine.ask import Ask, Setup
from agent.engine.errors import OutputError, OutputRefused, TurnOpen
from agent.engine.settings import check_compaction
from agent.engine.stream import Response
from agent.engine.turn import Steps, TurnSteps, to_its_end
from agent.engine.unfinished import check_owner
from agent.eventstore.events import HistoryCompacted, TurnAbandoned, TurnCompleted, TurnStarted
from agent.eventstore.messages import Message
from agent.eventstore.values import Excerpt, Settings, Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.engine.journal import Journal
    from agent.engine.request import RequestBuilder
    from agent.eventstore.events import ModelResponded
    from agent.eventstore.values import Owner
    from agent.projections.usage import ModelUsage

T = TypeVar("T")

HEADING = "Summary of the conversation so far:\n\n"

_REQUEST = (
    "Summarize our conversation up to here, so that it can go on from your summary alone. Keep "
    "what was asked for, found out and decided, with names, numbers and identifiers, and what is "
    "still to be done. Answer with the summary and nothing else, and call no tools."
)

_FEWEST = 2
"""A summary of a single message would only be longer."""


class Compaction(msgspec.Struct, frozen=True):
    """What a compaction did: the number of visible messages before and after it.

    ``summary`` is what the model wrote, None when there was nothing to compact; ``usage`` is what
    that cost. ``version`` is the session's version after it.
    """

    messages_before: int
    messages_after: int
    summary: str | None
    usage: Usage
    version: int


class Summarize(msgspec.Struct, Generic[T], frozen=True):
    """What the caller wants of a compaction; its response's output is a :class:`Compaction`."""

    keep_last: int
    request: Message
    model: str
    settings: Settings


def summarize(
    keep_last: int, instructions: str | None, model: str, settings: Settings
) -> Summarize[Compaction]:
    """A checked order for a compaction. Raises :class:`ConfigurationError`.

    Limits that are meant for answers do not cut a summary, and it may call no tools.
    """
    check_compaction(keep_last, instructions)
    text = f"{_REQUEST}\n\n{instructions}" if instructions else _REQUEST
    adapted = msgspec.structs.replace(settings, max_tokens=None, stop=None, tool_choice="none")
    return Summarize(keep_last, Message.user(text), model, adapted)


def take_compaction(
    journal: Journal, requests: RequestBuilder, order: Summarize[Any], setup: Setup
) -> Steps[Response[Compaction]]:
    """One whole compaction. Raises :class:`TurnOpen`, and what a turn raises.

    With nothing to compact nothing is asked and nothing recorded.
    """
    close_compaction(journal, setup.sources.owner())
    now = journal.state.conversation
    cut = _cut(now.messages, order.keep_last)
    if cut < _FEWEST:
        journal.forget()
        version = journal.committed.version
        nothing = Compaction(now.length, now.length, None, Usage(), version)
        return _response(nothing, order.model, ())
    return (yield from to_its_end(Compacting(journal, requests, order, Excerpt(0, cut), setup)))


def compact_when_due(
    journal: Journal, requests: RequestBuilder, ask: Ask[Any], setup: Setup
) -> Steps[bool]:
    """A compaction before a turn, if the agent's policy wants one now; whether there was one.

    Raises what a compaction raises.
    """
    policy = setup.compact_at
    if policy is None or not policy.due(journal.state.conversation):
        return False
    model = policy.model or ask.model
    order = summarize(policy.keep_last, policy.instructions, model, ask.settings)
    yield from take_compaction(journal, requests, order, setup)
    return True


def close_compaction(journal: Journal, me: Owner) -> None:
    """Record the end of a compaction that its process did not live to see.

    It has changed nothing, so it stands in nobody's way. Raises :class:`TurnOpen` for any other
    turn, and :class:`OwnerAlive` while the compaction may go on.
    """
    turn = journal.state.conversation.turn
    if turn is None:
        return
    if turn.input.kind != "compaction":
        raise TurnOpen(journal.stream, turn.started)
    check_owner(journal.stream, turn, me)
    journal.record(TurnAbandoned(reason="interrupted"))


def _cut(messages: Sequence[Message], keep_last: int) -> int:
    """How many messages a summary may stand for: never a call without its results."""
    cut = len(messages) - keep_last
    if messages and messages[-1].tool_calls:
        cut = min(cut, len(messages) - 1)
    while 0 < cut < len(messages) and messages[cut].role == "tool":
        cut -= 1
    return cut


class Compacting(TurnSteps[Compaction]):
    """The working parts of :func:`take_compaction`."""

    def __init__(
        self,
        journal: Journal,
        requests: RequestBuilder,
        order: Summarize[Any],
        excerpt: Excerpt,
        setup: Setup,
    ) -> None:
        ask = Ask[Compaction](order.request, order.model, order.settings, stream=False)
        super().__init__(journal, requests, ask, setup)
        self._order = order
        self._excerpt = excerpt
        self._before = journal.state.conversation.length

    def enter(self) -> None:
        """Record the beginning."""
        self._hold(
            TurnStarted(
                kind="compaction",
                input=self._order.request,
                settings=self._order.settings,
                excerpt=self._excerpt,
                owner=self._setup.sources.owner(),
            )
        )

    def steps(self) -> Steps[Response[Compaction]]:
        """Ask for the summary, and let it stand for what was summarized."""
        yield from self._ask_model(1)
        turn = self._turn
        text = _summary(turn.answer)
        self._journal.record(TurnCompleted())
        self._journal.record(
            HistoryCompacted(
                through=turn.started - 1,
                kept=self._before - (self._excerpt.end or 0),
                summary=Message.user(HEADING + text),
            )
        )
        yield from self._commit()
        state = self._journal.state
        after = state.conversation.length
        done = Compaction(self._before, after, text, turn.usage, state.version)
        return _response(done, self._order.model, turn.spent)


def _summary(responded: ModelResponded | None) -> str:
    """The text of a summary. Raises :class:`OutputError` for an answer that is none."""
    if responded is None:
        raise AssertionError("a model that was asked has answered, or failed")
    message, reason = responded.message, responded.finish_reason
    text = message.text.strip()
    if message.refusal is not None:
        raise OutputRefused(f"the model refused to summarize: {message.refusal}", text=text)
    if message.tool_calls:
        raise OutputError("the model called tools instead of summarizing; try again", text=text)
    if reason in ("length", "content_filter"):
        raise OutputError(
            f"the summary was cut ({reason}); keep more messages, or name another model", text=text
        )
    if not text:
        raise OutputError("the model gave an empty summary; try again", text=text)
    return text


def _response(done: Compaction, model: str, spent: tuple[ModelUsage, ...]) -> Response[Compaction]:
    return Response(
        text=done.summary or "",
        output=done,
        messages=(),
        tool_calls=(),
        spent=spent,
        finish_reason="stop",
        model=model,
        version=done.version,
    )
