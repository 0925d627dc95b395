"""Sessions whose model says what no model should: the turn ends in order, the session goes on."""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from agent import Agent, Message, TextPart
from agent.engine.errors import LimitExceeded, OutputError
from agent.engine.provider import MessageContext
from agent.engine.scripted import Call, Reply, ScriptedModel
from agent.eventstore.errors import InvalidEvent
from agent.stores import SQLiteStore
from tests.engine.given import add, agent_of, kinds, shown


class Tea(BaseModel):
    """A tea."""

    name: str


WORDS = {
    "unknown": (Call("multiply", {"a": 1}), "UnknownTool: there is no tool 'multiply'; .*: add$"),
    "nameless": (Call("", "{}"), "UnknownTool: there is no tool ''; the tools are: add$"),
    "long name": (Call("x" * 100_000, "{}"), "UnknownTool: there is no tool 'x{100}'; "),
    "broken": (Call("add", '{"a":1'), "InvalidArguments: value: Invalid JSON"),
    "twice": (Call("add", '{"a":1,"a":2,"b":1}'), "InvalidArguments: a: given more than once"),
    "no object": (Call("add", "[1,2]"), "InvalidArguments: value: Input should be an object"),
    "missing": (Call("add", {"a": 1}), "InvalidArguments: b: Field required"),
    "extra": (Call("add", {"a": 1, "b": 2, "c": 3}), "InvalidArguments: c: Extra inputs"),
    "deep": (Call("add", "[" * 10_000 + "]" * 10_000), "InvalidArguments: .* recursion limit"),
}


@pytest.mark.parametrize("case", WORDS)
@pytest.mark.parametrize("is_async", [False, True])
def test_calls_that_cannot_be_made(case: str, is_async: bool):
    """The model is told what is wrong with its call, beside the result of a good one."""
    call, words = WORDS[case]
    session = agent_of([call, Call("add", {"a": 1, "b": 2})], "Done.", tools=[add]).session()
    response = asyncio.run(session.run_async("Go")) if is_async else session.run("Go")
    bad, good = response.messages[2].tool_results

    assert response.text == "Done."
    assert (bad.is_error, good.is_error, good.text) == (True, False, "3")
    assert re.search(words, bad.text)


def test_an_empty_answer():
    """An answer of nothing completes the turn; its text is empty, and the session goes on."""
    session = agent_of("", "Hello").session()

    assert session.run("Hi").text == ""
    assert shown(session) == ["Hi", ""]
    assert session.run("Are you there?").text == "Hello"


def test_a_model_that_calls_tools_for_ever():
    """It is stopped after `max_steps` answers; what ran is listed, the history is as before."""
    session = agent_of(
        *[Call("add", {"a": 1, "b": 2})] * 3, "Hello", tools=[add], max_steps=3
    ).session()
    with pytest.raises(LimitExceeded, match="3 steps; raise max_steps to allow more") as raised:
        session.run("Go")

    assert (raised.value.limit, len(raised.value.completed_calls)) == ("max_steps", 3)
    assert (session.messages, kinds(session)[-1]) == ([], "turn.failed")
    assert session.run("Hi").text == "Hello"


@pytest.mark.parametrize("answer", ["", "no JSON", '{"name":3}', "[" * 10_000])
def test_output_that_never_fits(answer: str):
    """It is asked for again a few times; the error has the last answer and says what to change."""
    session = agent_of(*[answer] * 3, "Hello").session()
    with pytest.raises(OutputError, match="schema, or raise max_output_retries") as raised:
        session.json("Which tea?", Tea)

    assert (raised.value.text, len(raised.value.errors)) == (answer, 1)
    assert session.messages == []
    assert session.run("Hi").text == "Hello"


@pytest.mark.parametrize("said", [Reply(text="\ud800"), Call("add", "\ud800")])
def test_an_answer_that_no_log_can_keep(said: Any):
    """A provider of one's own may hand over what is no text: the turn fails, naming the place."""
    session = agent_of(said, "Hello", tools=[add]).session()
    with pytest.raises(InvalidEvent, match=r"model.responded: \$.message.parts\[0\]"):
        session.run("Hi")

    assert (session.messages, kinds(session)[-1]) == ([], "turn.failed")
    assert session.run("Hi").text == "Hello"


class Faulty(ScriptedModel):
    """A provider of one's own that cannot encode what tools return."""

    def encode_message(self, message: Message, context: MessageContext) -> Sequence[bytes]:
        """Fail for results."""
        if message.role == "tool":
            raise KeyError("results")
        return super().encode_message(message, context)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_faulty_provider(is_async: bool):
    """Its error comes through; what the tools had done is in the log, and the turn has an end."""
    model = Faulty([Call("add", {"a": 1, "b": 2}), "Hello"])
    session = Agent(model, "m", tools=[add]).session()
    with pytest.raises(KeyError, match="results"):
        asyncio.run(session.run_async("Go")) if is_async else session.run("Go")

    assert kinds(session)[-3:] == ["tool.called", "tool.returned", "turn.failed"]
    assert session.messages == []
    assert session.run("Hi").text == "Hello"


class Picky(BaseModel):
    """A shape whose validator has a fault of its own."""

    name: str

    @field_validator("name")
    @classmethod
    def check(cls, name: str) -> str:
        """Look the name up."""
        return {"Assam": name}[name]


def test_a_faulty_validator():
    """Its error comes through; the answer is in the log, and its tokens are counted."""
    session = agent_of('{"name":"Darjeeling"}', "Hello").session()
    with pytest.raises(KeyError, match="Darjeeling"):
        session.json("Which tea?", Picky)

    assert kinds(session)[-2:] == ["model.responded", "turn.failed"]
    assert (session.messages, session.usage.own.output_tokens) == ([], 1)
    assert session.run("Hi").text == "Hello"


def test_a_result_of_50_mb(tmp_path: Path):
    """A huge result stands in the log once, goes into the next request, and comes back."""
    size = 50_000_000

    def dump() -> str:
        return "x" * size

    with SQLiteStore(tmp_path / "sessions.db", durability="os") as store:
        agent = agent_of(Call("dump"), "Done.", "Hello", tools=[dump], store=store)
        session = agent.session("s")
        session.run("Go")
        session.run("Hi")
        assert agent_of(store=store).session("s").messages == session.messages
    (part,) = session.messages[2].tool_results[0].content

    assert isinstance(part, TextPart)
    assert len(part.text) == size
    assert sum(path.stat().st_size for path in tmp_path.glob("sessions.db")) < 1.1 * size
