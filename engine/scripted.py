"""A model that answers from a script: for tests, demos and benchmarks.

It is a whole :class:`~agent.engine.provider.Provider` with a protocol of its own, so everything
but the network is as with a real model.
"""

from __future__ import annotations

import asyncio
import math
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from agent.engine.errors import ProviderTimeout
from agent.engine.provider import (
    Answer,
    Delta,
    Frame,
    MessageContext,
    ModelRequest,
    Prompt,
    Provider,
    TextDelta,
)
from agent.eventstore.backends.failing import die
from agent.eventstore.errors import AgentError
from agent.eventstore.messages import Message, TextPart, ToolCallPart
from agent.eventstore.processes import renewed_in_children
from agent.eventstore.values import FinishReason, Usage

if TYPE_CHECKING:
    from agent.eventstore.messages import Part

_PIECES = re.compile(r"\S+\s*|\s+")
_NAP = 0.05


class ScriptExhausted(AgentError):
    """The model was asked once more than its script has replies."""


class Call(msgspec.Struct, frozen=True):
    """A tool call in a script: ``Call("get_weather", {"city": "Paris"})``.

    ``arguments`` given as text go out as they are, valid or not.
    """

    name: str
    arguments: Mapping[str, Any] | str = {}
    id: str = ""

    def part(self) -> ToolCallPart:
        """The call as the provider would send it."""
        given = self.arguments
        text = given if isinstance(given, str) else msgspec.json.encode(given).decode()
        return ToolCallPart(self.id, self.name, text)


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """An answer with everything about it chosen.

    ``pieces`` are the streamed deltas (by default the words of the text), ``delay`` seconds pass
    before each. After its pieces the answer breaks off with ``error``; or it ``hangs``, until the
    turn is dropped, or its deadline passes, which raises :class:`ProviderTimeout`; or the process
    ``dies`` by SIGKILL.
    """

    text: str = ""
    calls: tuple[Call, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    pieces: tuple[str, ...] | None = None
    delay: float = 0.0
    error: Exception | None = None
    hangs: bool = False
    dies: bool = False


Scripted = str | Call | Sequence[Call] | Reply | Message | Exception
"""One line of a script: text, a call, parallel calls, a whole reply, or an error to raise."""


class ScriptedModel(Provider):
    """Answers with the lines of a script, one for each request, and keeps the requests.

    >>> model = ScriptedModel(["Hello!", Call("add", {"a": 1, "b": 2}), "Three."])

    ``script`` may also be a function from the request to a line. Raises :class:`ScriptExhausted`
    when there are no more lines. Safe to share between threads.
    """

    name = "scripted"
    api = "scripted"
    encoder = "scripted/1"
    default_model = "scripted"

    def __init__(self, script: Iterable[Scripted] | Callable[[ModelRequest], Scripted]) -> None:
        self._answer = script if callable(script) else None
        self._lines = iter(()) if callable(script) else iter(script)
        self.requests: list[ModelRequest] = []
        self.after_fork()
        renewed_in_children(self)

    def after_fork(self) -> None:
        """Begin anew in a child process: a thread of its parent's may have been asking."""
        self._lock = threading.Lock()

    def encode_message(
        self,
        message: Message,
        context: MessageContext,  # noqa: ARG002
    ) -> Sequence[bytes]:
        """The message as the log stores it, attachments by name."""
        return [msgspec.json.encode(message)]

    def encode_frame(self, prompt: Prompt) -> Frame:
        """The prompt as it is."""
        return Frame(b'{"messages":[', (), b'],"prompt":' + msgspec.json.encode(prompt) + b"}")

    def call(self, request: ModelRequest) -> Iterator[Delta | Answer]:
        """Give the next line."""
        reply, begun = self._next(request), time.monotonic()
        for piece in _pieces(reply) if request.prompt.stream else ():
            time.sleep(reply.delay)
            yield TextDelta(piece)
        for nap in _naps(request, begun) if reply.hangs else ():
            time.sleep(nap)
        yield _answer(reply)

    async def call_async(self, request: ModelRequest) -> AsyncIterator[Delta | Answer]:
        """Give the next line without blocking the event loop."""
        reply, begun = self._next(request), time.monotonic()
        for piece in _pieces(reply) if request.prompt.stream else ():
            await asyncio.sleep(reply.delay)
            yield TextDelta(piece)
        for nap in _naps(request, begun) if reply.hangs else ():
            await asyncio.sleep(nap)
        yield _answer(reply)

    def _next(self, request: ModelRequest) -> Reply:
        with self._lock:
            self.requests.append(request)
            if self._answer is not None:
                return _reply(self._answer(request))
            try:
                return _reply(next(self._lines))
            except StopIteration:
                asked = len(self.requests)
                raise ScriptExhausted(
                    f"request {asked} has no line; the script has {asked - 1}"
                ) from None


def _reply(line: Scripted) -> Reply:
    match line:
        case Reply():
            return line
        case str():
            return Reply(text=line)
        case Call():
            return Reply(calls=(line,))
        case Exception():
            return Reply(error=line)
        case Message():
            calls = tuple(Call(p.name, p.arguments, p.call_id) for p in line.tool_calls)
            return Reply(text=line.text, calls=calls)
        case _:
            return Reply(calls=tuple(line))


def _pieces(reply: Reply) -> Sequence[str]:
    return _PIECES.findall(reply.text) if reply.pieces is None else reply.pieces


def _naps(request: ModelRequest, begun: float) -> Iterator[float]:
    """Seconds to sleep, again and again while the turn has time and the interpreter goes on."""
    end = math.inf if request.deadline is None else begun + request.deadline
    while (left := end - time.monotonic()) > 0 and threading.main_thread().is_alive():
        yield min(left, _NAP)
    raise ProviderTimeout(
        "scripted had not answered when its time was over; raise deadline=... to wait",
        provider="scripted",
    )


def _answer(reply: Reply) -> Answer:
    if reply.dies:
        die()
    if reply.error is not None:
        raise reply.error
    parts: list[Part] = [TextPart(reply.text)] if reply.text else []
    parts += [call.part() for call in reply.calls]
    message = Message("assistant", tuple(parts))
    reason: FinishReason = reply.finish_reason or ("tool_calls" if reply.calls else "stop")
    usage = reply.usage or Usage(0, len(_pieces(reply)))
    return Answer(message, reason, None, usage)
