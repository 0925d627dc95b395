"""Where a rerun departs from what was: version, kind, causes and places, as data."""

from typing import Any

import pytest

from agent.engine.changes import Change
from agent.engine.departure import Way, departure
from agent.engine.divergence import Cause, Kind
from agent.engine.effects import Answered
from agent.engine.errors import ServerFailed
from agent.engine.provider import Answer
from agent.engine.rerun import RerunOptions
from agent.engine.scripted import Call, Scripted
from agent.eventstore.events import ModelResponded, ToolResolved, ToolReturned
from agent.eventstore.messages import Message, RefusalPart
from agent.eventstore.values import Usage
from tests.engine.crashes import cut
from tests.engine.given import Stage, answered, outcome
from tests.engine.reruns import BERN, NICE, OSLO, ROME, SAME, Town, known


def call(name: str, **arguments: Any) -> dict[str, Any]:
    """A call as a departure shows it."""
    text = "{" + ",".join(f'"{key}":"{value}"' for key, value in arguments.items()) + "}"
    return {"tool": name, "arguments": text}


UNSET: Any = Change("").before
ANSWERS: list[tuple[list[Scripted], int, Kind, tuple[Change, ...]]] = [
    (
        ["Sunny."],
        10,
        "tool",
        (
            Change("/text", "", "Sunny."),
            Change("/calls/0", call("weather", city="Oslo"), UNSET),
            Change("/calls/1", call("weather", city="Rome"), UNSET),
        ),
    ),
    (
        [[OSLO]],
        10,
        "tool",
        (Change("/calls/1", call("weather", city="Rome"), UNSET),),
    ),
    (
        [[OSLO, ROME, BERN]],
        10,
        "tool",
        (Change("/calls/2", UNSET, call("weather", city="Bern")),),
    ),
    (
        [[OSLO, NICE]],
        10,
        "arguments",
        (Change("/calls/1/arguments", '{"city":"Rome"}', '{"city":"Nice"}'),),
    ),
    (
        [[ROME, OSLO], BERN, "Mixed."],
        10,
        "arguments",
        (
            Change("/calls/0/arguments", '{"city":"Oslo"}', '{"city":"Rome"}'),
            Change("/calls/1/arguments", '{"city":"Rome"}', '{"city":"Oslo"}'),
        ),
    ),
    (
        [[OSLO, ROME], [Call("nope")]],
        16,
        "tool",
        (
            Change("/calls/0/tool", "weather", "nope"),
            Change("/calls/0/arguments", '{"city":"Bern"}', "{}"),
        ),
    ),
    (
        [[OSLO, ROME], "Mixed."],
        16,
        "tool",
        (
            Change("/text", "", "Mixed."),
            Change("/calls/0", call("weather", city="Bern"), UNSET),
        ),
    ),
    ([[OSLO, ROME], BERN, "Fine."], 20, "answer", (Change("/text", "Mixed.", "Fine."),)),
]


@pytest.mark.parametrize(("script", "version", "kind", "places"), ANSWERS)
def test_another_answer_to_the_same_request(
    script: list[Scripted], version: int, kind: Kind, places: tuple[Change, ...]
):
    """It is chance; the names of calls are none of it."""
    found = known(*script).rerun().departure
    assert found is not None
    assert (found.version, found.kind, found.changes) == (version, kind, places)
    assert isinstance(found.recorded, ModelResponded)
    assert isinstance(found.today, ModelResponded)
    assert found.causes == ("sampling",)


def test_an_answer_spelled_otherwise():
    """Spaces in arguments are no departure."""
    spelled = Call("weather", '{ "city": "Bern" }')
    assert known([OSLO, ROME], spelled, "Mixed.").rerun().departure is None


def test_other_tools_in_another_order():
    """Which tools were called is the same, but not when."""

    def other() -> str:
        """Something else."""
        return "x"

    tools = [*Town().tools, other]
    first, second = [OSLO, Call("other")], [Call("other"), OSLO]
    session = known(first, "So.", second, "So.", until=7, tools=tools)
    session.run("Try")
    found = session.rerun().departure
    assert found is not None
    assert (found.version, found.kind) == (11, "order")
    assert found.changes == (
        Change("/calls/0/tool", "weather", "other"),
        Change("/calls/0/arguments", '{"city":"Oslo"}', "{}"),
        Change("/calls/1/tool", "other", "weather"),
        Change("/calls/1/arguments", "{}", '{"city":"Oslo"}'),
    )


def test_another_result():
    """What a tool says now."""
    found = known(*SAME).rerun(tool_results="live").departure
    assert found is not None
    assert (found.version, found.kind, found.causes) == (13, "result", ("tool result",))
    assert found.changes == (Change("/content/0", "sun", "snow in Oslo"),)
    assert isinstance(found.recorded, ToolReturned)
    assert isinstance(found.today, ToolReturned)


def test_an_error_instead_of_a_result():
    """Also with the same words."""

    def weather(city: str) -> str:
        raise ValueError(city)

    found = known("So.").rerun(17, tool_results="live", tools=[weather]).departure
    assert found is not None
    assert found.changes == (
        Change("/content/0", "rain", "ValueError: Bern"),
        Change("/is_error", before=False, after=True),
    )


def test_an_error_with_the_words_of_a_result():
    """Is another result."""

    def weather(city: str) -> str:
        raise ValueError

    session = known("So.", "So.", until=17)
    session.resolve("call_16_0", result="ValueError: ")
    session.resume()
    found = session.rerun(17, tool_results="live", tools=[weather]).departure
    assert found is not None
    assert (found.version, found.kind) == (18, "result")
    assert found.changes == (Change("/is_error", before=False, after=True),)


def test_an_edited_result_is_expected():
    """It is the answer to it that departs."""
    found = known("Wet.").rerun(edit={18: "snow"}).departure
    assert found is not None
    assert (found.version, found.kind, found.causes) == (20, "answer", ("history",))


def test_an_edited_result_that_is_lost():
    """A tool that runs instead says something else: what was expected is shown."""
    session = known([OSLO, NICE], town=Town())
    found = session.rerun(7, edit={13: "hail"}).departure
    assert found is not None
    assert (found.version, found.kind) == (10, "arguments")


def test_something_is_missing():
    """The rerun ended before: where it would have gone on."""
    rerun = known([OSLO, ROME], ServerFailed("down"), max_retries=0).rerun()
    found = rerun.departure
    assert isinstance(rerun.error, ServerFailed)
    assert found is not None
    assert (found.version, found.kind, found.causes, found.changes) == (16, "missing", (), ())
    assert isinstance(found.recorded, ModelResponded)
    assert found.today is None


def test_nothing_was_answered():
    """From the first answer on."""
    found = known(ServerFailed("down"), max_retries=0).rerun(model="other").departure
    assert found is not None
    assert (found.version, found.kind, found.causes) == (10, "missing", ("model",))


def test_something_comes_besides():
    """The original had stopped before."""
    session = known(BERN, "Mixed.", until=15)
    found = session.rerun(15).departure
    assert found is not None
    assert (found.version, found.kind, found.causes) == (15, "extra", ())
    assert found.recorded is None
    assert isinstance(found.today, ModelResponded)


CAUSES: list[tuple[RerunOptions, tuple[Cause, ...]]] = [
    ({"model": "other"}, ("model",)),
    ({"system": None}, ("system prompt",)),
    ({"seed": 7}, ("settings",)),
    ({"schema": dict}, ("output schema",)),
    ({"edit": {8: "?"}}, ("history",)),
    ({"edit": {6: "?"}}, ("history",)),
    ({"tools": []}, ("tool definition",)),
    (
        {"model": "other", "system": "x", "seed": 7, "edit": {8: "?"}},
        ("model", "system prompt", "settings", "history"),
    ),
]


@pytest.mark.parametrize(("options", "causes"), CAUSES)
def test_causes(options: RerunOptions, causes: tuple[Cause, ...]):
    """What was asked otherwise, the likeliest first."""
    found = known("{}").rerun(7, **options).departure
    assert found is not None
    assert (found.version, found.kind, found.causes) == (10, "tool", causes)


def test_another_history_by_results():
    """A later request says what other tools said: the first departure is the result."""
    found = known([OSLO, ROME], "White.").rerun(tool_results="live").departure
    assert found is not None
    assert found.version == 13


def test_results_of_parallel_calls_in_any_order():
    """They are held against each other call by call."""
    stage = Stage(tools=Town().tools)
    results = [[outcome("call_5_1", "fog")], [outcome("call_5_0", "sun")]]
    stage.play(answered(calls=[OSLO, ROME]), None, *results, answered("So."))
    session = known([OSLO, ROME], "So.", store=cut(stage.facts, 99))
    rerun = session.rerun()
    assert (rerun.served, rerun.departure) == ((9, 8), None)


def test_a_refusal():
    """Is another answer than none, and than another."""
    no, never = (Message("assistant", (RefusalPart(text),)) for text in ("No", "Never"))
    assert _kinds(no, no) is None
    assert (_kinds(no, never), _kinds(no, Message.assistant())) == ("answer", "answer")


def _kinds(one: Message, other: Message) -> Kind | None:
    """How a turn whose answer was one departs from one whose answer is another."""

    def way(message: Message) -> Way:
        stage = Stage()
        stage.play(Answered(Answer(message, "stop", None, Usage()), 0.0))
        return Way(stage.facts, stage.facts[1:])

    found = departure(way(one), way(other), lambda _facts, _asked: None)
    return found and found.kind


def test_said():
    """In words."""
    found = known([OSLO, NICE]).rerun().departure
    assert str(found) == (
        "version 10: other arguments (cause: sampling)\n"
        "  model.responded\n"
        '  /calls/1/arguments: "{\\"city\\":\\"Rome\\"}" -> "{\\"city\\":\\"Nice\\"}"'
    )


def test_served_results_are_no_departure():
    """That they are resolved, not returned, is no other result."""
    rerun = known(*SAME).rerun()
    kinds = {type(fact.event) for fact in rerun.session.events()}
    assert ToolResolved in kinds
    assert rerun.departure is None
