from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from agent import Agent, Message, Session
from agent.errors import CannotRewrite
from agent.replay import replay, rewrite
from agent.testing import Call, ScriptedModel
from tests.engine.given import agent_of, fixed_sources, kinds

RAN: list[str] = []


class Name(BaseModel):
    name: str


def weather(city: str) -> str:
    """Tell the weather."""
    RAN.append(city)
    return f"sunny in {city}"


def forecast(city: str) -> str:
    """Tell the weather of tomorrow."""
    RAN.append(city)
    return "rain"


def answer(request: Any) -> Any:
    """A model that asks for the weather in one place, or in two."""
    last = request.messages[-1]
    if request.prompt.output is not None:
        return '{"name": "x"}'
    if last.role == "tool":
        return f"It is {last.text}."
    cities = [Call("weather", {"city": city}, f"id {city}") for city in last.text.split()]
    return cities if "B" in last.text else cities[0]


def agent(tools: tuple[Callable[..., Any], ...] = (weather,), **options: Any) -> Agent:
    """The agent that records, and others like it."""
    options.setdefault("sources", fixed_sources())
    return Agent(ScriptedModel(answer), options.pop("model", "m"), tools=tools, **options)


def recorded() -> Session:
    """Turns, and all that can lie between them."""
    session = agent().session("s", system="Be brief.")
    session.run("A")
    session.json("Name?", schema=Name)
    session.run("A B", temperature=0.25)
    session.undo()
    session.add_message(Message.user("By hand"))
    session.run("B A", model="other")
    session.clear()
    session.run("C")
    RAN.clear()
    return session


CHANGES: dict[str, Callable[[], Agent]] = {
    "a tool more": lambda: agent((weather, forecast)),
    "no tools": lambda: agent(()),
    "another model": lambda: agent(model="n"),
    "a setting": lambda: agent(temperature=0.5),
    "a window": lambda: agent(window=2),
    "fewer steps": lambda: agent(max_steps=1),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_record_brought_up_to_date(name: str):
    """It replays without a difference where the old one did not; no tool runs, nothing is lost."""
    data, today = recorded().to_dict(), CHANGES[name]()
    assert not replay(data, today)
    written = rewrite(data, today)
    again = replay(written, today)
    assert (bool(again), again.events) == (True, written["version"])
    assert RAN == []
    copy = Session.from_dict(written, agent_of())
    assert kinds(copy).count("turn.started") == 5
    assert [kind for kind in kinds(copy) if kind.startswith(("history", "message"))] == [
        "history.rewound",
        "message.added",
        "history.cleared",
    ]


def test_the_same_answers():
    """Answers and results are those of the record, under the names of now."""
    session = recorded()
    written = Session.from_dict(rewrite(session, agent((weather, forecast))), agent_of())
    assert [message.text for message in written.messages] == [
        "C",
        "",
        "sunny in C",
        "It is sunny in C.",
    ]
    then, now = (one.messages[1].tool_calls[0] for one in (session, written))
    assert (now.provider_id, now.name, now.arguments) == (
        then.provider_id,
        then.name,
        then.arguments,
    )


def test_versions_that_move():
    """What names a version names it where it is now: here an undo, behind an event less."""
    data = recorded().to_dict()
    shorter = Session.from_dict(rewrite(data, agent(())), agent_of())
    events = [fact.event for fact in shorter.events()]
    (rewound,) = [event for event in events if event.type == "history.rewound"]
    at = shorter.at(rewound.to)  # pyright: ignore[reportAttributeAccessIssue] - an undo
    assert at.messages[-1].text == '{"name": "x"}'


def test_what_is_the_same_stays():
    """Events before the first difference are those of the record, to the byte."""
    data = recorded().to_dict()
    written = rewrite(data, agent(temperature=0.5))
    assert written["events"][:2] == data["events"][:2]
    assert written["events"][2] != data["events"][2]
    assert rewrite(data, agent()) == data


def test_verdicts_that_move():
    """An answer that did not fit does not fit now either, at whatever version it comes."""
    answers = ["A", "?", '{"name": 1}', '{"name": "x"}', "B"]
    session = Agent(ScriptedModel(answers), "m", sources=fixed_sources()).session("s")
    session.run("Hi")
    session.json("Name?", schema=Name)
    session.run("Ho")
    today = Agent(ScriptedModel([]), "m", tools=[weather])
    written = Session.from_dict(rewrite(session, today), agent_of())
    assert kinds(written) == ["session.started", "tools.declared", *kinds(session)[1:]]
    assert [message.text for message in written.messages] == [
        "Hi",
        "A",
        "Name?",
        '{"name": "x"}',
        "Ho",
        "B",
    ]
    assert replay(written, today)


def test_another_system_prompt():
    """It is that of the session from its beginning."""
    data = recorded().to_dict()
    written = rewrite(data, agent(), system="Be long.")
    assert Session.from_dict(written, agent_of()).system == "Be long."
    assert replay(written, agent())


def test_a_shape_of_today():
    """What today's type refuses is asked again, which nobody has answered."""

    class Number(BaseModel):
        name: int

    Number.__name__ = "Name"
    with pytest.raises(CannotRewrite, match="asks the model once more than was recorded") as caught:
        rewrite(recorded(), agent(), schemas=[Number])
    assert caught.value.version == 14


def test_a_person_who_was_not_asked():
    """Nobody knows what they would have said."""
    with pytest.raises(CannotRewrite, match="asks a person where nobody was asked") as caught:
        rewrite(recorded(), agent(requires_approval=True))
    assert caught.value.version == 2


def test_a_person_who_is_not_asked_any_more():
    """What was decided then has no place now."""
    asking = agent(requires_approval=True)
    session = asking.session("s")
    (call,) = session.run("A").pending_approvals
    session.approve(call.call_id)
    session.resume()
    assert rewrite(session, asking) == session.to_dict()
    with pytest.raises(CannotRewrite):
        rewrite(session, agent())


def test_a_turn_that_today_refuses():
    """The error says what today raises."""
    with pytest.raises(CannotRewrite, match="goes another way"):
        rewrite(recorded(), agent((), tool_choice="required"))


def test_a_turn_that_was_cut():
    """What its process did not live to see is not there either."""
    model = ScriptedModel([RuntimeError("the end")])
    session = Agent(model, "m", sources=fixed_sources()).session("s")
    with pytest.raises(RuntimeError):
        session.run("A")
    written = rewrite(session, Agent(model, "m", temperature=0.5))
    assert kinds(Session.from_dict(written, agent_of())) == kinds(session)
