import asyncio
import json
from datetime import date
from enum import Enum
from typing import Literal

import pytest
from pydantic import BaseModel, Field

from agent import Agent
from agent.errors import OutputError
from tests.fakes import ChatServer, Refusal, Text
from tests.sessions_api.given import Summary, sent, shown, told


def test_output_is_an_instance(agent: Agent, openai_env: ChatServer) -> None:
    """The schema reaches the wire, and the answer is validated."""
    response = told(agent.session()).json("Summarize our conversation", schema=Summary)
    assert response.output == Summary(key_points=["some key points"], conclusion="some conclusion")
    assert openai_env.bodies[-1]["response_format"]["type"] == "json_schema"
    assert len(openai_env.requests[-1].messages) == 5


def test_json_async(agent: Agent) -> None:
    """The asynchronous twin gives the same."""
    response = asyncio.run(agent.session().json_async("Summarize", schema=Summary))
    assert response.output.conclusion == "some conclusion"


def test_a_turn_after_it_is_plain_again(agent: Agent, openai_env: ChatServer) -> None:
    """The format holds for one turn; its answer stays in the history."""
    session = agent.session()
    session.json("Summarize", schema=Summary)
    session.run("Hello")
    assert "response_format" not in openai_env.bodies[-1]
    assert json.loads(sent(openai_env)[1][1])["conclusion"] == "some conclusion"


def test_after_a_turn_with_tools(tool_agent: Agent) -> None:
    """Calls and results in the history are no obstacle."""
    session = tool_agent.session()
    session.run("I'm user-123, what are my orders?")
    assert session.json("Summarize", schema=Summary).output.conclusion == "some conclusion"
    assert session.run("When will order 1 arrive?").text.startswith("From what I looked up")


def test_every_kind_of_schema_is_taken(agent: Agent) -> None:
    """Defaults, unions, enums, limits, references and maps survive a strict provider."""

    class Mood(Enum):
        GOOD = "good"
        BAD = "bad"

    class Point(BaseModel):
        text: str = Field(min_length=1, description="What was said")
        children: list["Point"] = []

    class Report(BaseModel):
        title: str = Field("Untitled", max_length=80)
        mood: Mood = Mood.GOOD
        kind: Literal["short", "long"]
        main: Point = Field(description="The main point")
        points: list[Point]
        due: date | None = None
        score: float = Field(ge=0, le=1)

    class Counts(BaseModel):
        by_name: dict[str, int]
        pair: tuple[int, str]

    report = agent.session().json("Report", schema=Report)
    counts = agent.session().json("Count", schema=Counts)
    assert isinstance(report.output, Report)
    assert isinstance(counts.output, Counts)


def test_an_invalid_answer_is_asked_again(agent: Agent, openai_env: ChatServer) -> None:
    """Only the valid answer enters the history."""
    valid = '{"key_points": [], "conclusion": "ok"}'
    openai_env.script([Text("no json"), Text('{"key_points": 5}'), Text(valid)])
    session = agent.session()
    assert session.json("Summarize", schema=Summary).output.conclusion == "ok"
    assert len(openai_env.requests) == 3
    assert shown(session) == [("user", "Summarize"), ("assistant", valid)]


@pytest.mark.parametrize(
    "reply", [Text("no json"), Text('{"key_po', finish_reason="length"), Refusal("I can't.")]
)
def test_no_valid_answer_is_an_error(
    agent: Agent, openai_env: ChatServer, reply: Text | Refusal
) -> None:
    """Patience ends, and the history is as before."""
    session = told(agent.session())
    before = shown(session)
    openai_env.script([reply] * 10)
    with pytest.raises(OutputError):
        session.json("Summarize", schema=Summary)
    assert shown(session) == before
