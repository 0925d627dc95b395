import asyncio
import json

import pytest

from agent import Agent, Message, TextDelta, Usage
from agent.engine.errors import RateLimited
from agent.engine.provider import Answer, Delta, ModelRequest, Prompt
from agent.engine.scripted import Call, Reply, Scripted, ScriptedModel, ScriptExhausted
from agent.eventstore.messages import TextPart, ToolCallPart
from agent.eventstore.values import Settings

PROMPT = Prompt("m", None, (), Settings(), None, stream=True)


def request(*, stream: bool = True) -> ModelRequest:
    """A request of no session."""
    prompt = Prompt("m", None, (), Settings(), None, stream)
    return ModelRequest(prompt, "", lambda: b"", list)


async def collect(model: ScriptedModel, asked: ModelRequest) -> list[Delta | Answer]:
    """Everything that the async call gives."""
    return [item async for item in model.call_async(asked)]


def test_streamed_text():
    """A streamed text comes in words, then as a whole answer."""
    items = list(ScriptedModel(["Hello big world"]).call(request()))

    assert items == [
        *(TextDelta(piece) for piece in ("Hello ", "big ", "world")),
        Answer(Message.assistant("Hello big world"), "stop", None, Usage(0, 3)),
    ]


@pytest.mark.parametrize(
    ("line", "message", "reason"),
    [
        ("Hi", Message.assistant("Hi"), "stop"),
        ("", Message("assistant", ()), "stop"),
        (Call("f"), Message.assistant(ToolCallPart("", "f", "{}")), "tool_calls"),
        (
            [Call("f", {"a": 1}, "x"), Call("g", "not JSON")],
            Message.assistant(ToolCallPart("x", "f", '{"a":1}'), ToolCallPart("", "g", "not JSON")),
            "tool_calls",
        ),
        (Reply(text="Hi", finish_reason="length"), Message.assistant("Hi"), "length"),
        (
            Message.assistant("Hm", ToolCallPart("x", "f", "{}")),
            Message("assistant", (TextPart("Hm"), ToolCallPart("x", "f", "{}"))),
            "tool_calls",
        ),
    ],
)
def test_lines(line: Scripted, message: Message, reason: str):
    """A line is text, a call, parallel calls, a whole reply or a message."""
    (answer,) = ScriptedModel([line]).call(request(stream=False))

    assert isinstance(answer, Answer)
    assert (answer.message, answer.finish_reason) == (message, reason)


def test_sync_and_async_are_alike():
    """Both ways to ask give the same deltas and the same answer."""
    lines = ["Hello world", Call("f"), Reply(text="abc", pieces=("a", "bc"), usage=Usage(1, 2))]
    sync, other = ScriptedModel(lines), ScriptedModel(lines)
    for _ in lines:
        assert list(sync.call(request())) == asyncio.run(collect(other, request()))


def test_errors():
    """An error is raised; a reply with an error breaks off after its pieces."""
    model = ScriptedModel([RateLimited("slow"), Reply(text="Hel lo", error=RateLimited("cut"))])
    with pytest.raises(RateLimited, match="slow"):
        list(model.call(request()))
    items = model.call(request())

    assert [next(items), next(items)] == [TextDelta("Hel "), TextDelta("lo")]
    with pytest.raises(RateLimited, match="cut"):
        next(items)


def test_exhausted_script():
    """A request without a line says how many there were."""
    model = ScriptedModel(["a"])
    list(model.call(request()))

    with pytest.raises(ScriptExhausted, match="request 2 has no line; the script has 1"):
        list(model.call(request()))


def test_exhausted_script_ends_the_turn():
    """An exhausted script is an error of the turn, as any of a provider."""
    session = Agent(ScriptedModel([]), "m").session()
    with pytest.raises(ScriptExhausted):
        session.run("Hi")

    assert [fact.type for fact in session.events()][-2:] == ["model.failed", "turn.failed"]
    assert session.messages == []


def test_script_function():
    """A script may be a function of the request."""
    model = ScriptedModel(lambda asked: f"{len(asked.messages)} messages")
    session = Agent(model, "m").session()

    assert [session.run("Hi").text, session.run("Hi").text] == ["1 messages", "3 messages"]
    assert len(model.requests) == 2


def test_requests_are_kept():
    """Each request can be looked at afterwards: its messages, prompt and body."""
    model = ScriptedModel(["a", "b"])
    session = Agent(model, "m").session(system="Be brief.")
    session.run("one")
    session.run("two", temperature=0.5)
    first, second = model.requests
    body = json.loads(second.body)

    assert [m.text for m in first.messages] == ["one"]
    assert [m.text for m in second.messages] == ["one", "a", "two"]
    assert second.prompt.system == "Be brief."
    assert [m["parts"][0]["text"] for m in body["messages"]] == ["one", "a", "two"]
    assert body["prompt"]["settings"] == {"temperature": 0.5}
