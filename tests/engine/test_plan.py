"""What a rerun would do, said beforehand: nothing happens, and it comes true."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import Agent, ImagePart, Message
from agent.engine.plan import Plan, PlannedCall
from agent.engine.provider import ModelRequest
from agent.engine.rerun import RerunOptions
from agent.engine.scripted import Call, Reply, ScriptedModel
from agent.engine.stores import LogStore
from agent.eventstore.events import ModelResponded
from agent.eventstore.messages import TextPart, ToolCallPart, ToolResultPart
from agent.eventstore.values import Usage
from agent.stores import SQLiteStore
from tests.engine.given import add
from tests.engine.reruns import (
    BERN,
    NICE,
    OSLO,
    ROME,
    SAME,
    Town,
    known,
    listed,
    recorded,
    untouched,
)

OSLO_13 = PlannedCall("weather", '{"city":"Oslo"}', 13, "served")
ROME_14 = PlannedCall("weather", '{"city":"Rome"}', 14, "served")
BERN_18 = PlannedCall("weather", '{"city":"Bern"}', 18, "served")
WHOLE = Plan(
    at=7,
    turn=8,
    model="m",
    calls=(OSLO_13, ROME_14, BERN_18),
    others="stopped at",
    tools=(),
    steps_at_most=4,
    usage_at_most=None,
    cost_at_most=None,
)


def live(*calls: PlannedCall) -> tuple[PlannedCall, ...]:
    """The calls, if every tool runs."""
    return tuple(msgspec.structs.replace(call, fate="run") for call in calls)


ASKED = {"others": "asked about", "tools": ("weather",)}
LIVE = {"others": "run", "tools": ("weather",), "steps_at_most": 32}
PLANS: list[tuple[int | None, RerunOptions, dict[str, Any]]] = [
    (None, {}, {}),
    (1, {}, {"at": 2, "turn": 4, "calls": (), "steps_at_most": 1}),
    (9, {}, {"at": 9}),
    (11, {}, {"at": 11}),
    (13, {}, {"at": 13, "calls": (ROME_14, BERN_18), "steps_at_most": 3}),
    (18, {}, {"at": 18, "calls": (), "steps_at_most": 1}),
    (20, {}, {"at": 20, "calls": (), "steps_at_most": 1, "usage_at_most": Usage()}),
    (None, {"edit": {18: "snow"}}, {"at": 17, "calls": (BERN_18,), "steps_at_most": 2}),
    (None, {"edit": {8: "?"}}, {}),
    (None, {"seed": 7, "model": "other"}, {"model": "other"}),
    (None, {"tool_results": "ask"}, ASKED | {"steps_at_most": 32}),
    (
        13,
        {"tool_results": "ask"},
        ASKED | {"at": 13, "calls": (ROME_14, BERN_18), "steps_at_most": 31},
    ),
    (None, {"tool_results": "live"}, LIVE | {"calls": live(OSLO_13, ROME_14, BERN_18)}),
    (
        7,
        {"tool_results": "live", "edit": {14: "hail"}},
        LIVE | {"calls": (*live(OSLO_13), ROME_14, *live(BERN_18))},
    ),
    (None, {"tools": []}, {"calls": ()}),
    (None, {"schema": int}, {"steps_at_most": 6}),
]


@pytest.mark.parametrize(("at", "options", "other"), PLANS)
def test_plans(at: int | None, options: RerunOptions, other: dict[str, Any]):
    """Where it forks, which turn it takes, and what becomes of each call; nothing is asked."""
    town = Town()
    session = known(town=town)
    facts = list(session.events())
    plan = session.rerun(at, dry_run=True, **options)
    wanted = msgspec.structs.replace(WHOLE, **other)
    assert plan == msgspec.structs.replace(wanted, cost_at_most=plan.cost_at_most)
    model: Any = session._agent.provider
    assert (model.requests, town.asked, plan.cost_at_most) == ([], [], None)
    assert listed(session) == ["s"]
    untouched(session, facts)


def test_nothing_is_written(tmp_path: Path):
    """No byte of the file changes."""
    path = tmp_path / "sessions.db"
    with SQLiteStore(path) as store:
        store.log.append("s", recorded(), expected=None)
    before = path.read_bytes()
    with SQLiteStore(path) as store:
        session = known(store=store)
        session.rerun(dry_run=True)
        session.rerun(13, dry_run=True, tool_results="live", system="x", edit={8: "?"})
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "script", [SAME, ([OSLO],), ("Sunny.",), ([NICE],), ([ROME], [OSLO], BERN, "Wet.")]
)
@pytest.mark.parametrize("at", [7, 9, 11, 12])
def test_what_it_says_comes_true(script: Any, at: int):
    """The rerun that follows has the same plan, and serves nothing else."""
    script = script if at < 10 else (*script[1:], "So.")
    session = known(*script, "So.")
    plan = session.rerun(at, dry_run=True)
    rerun = session.rerun(at)
    assert rerun.plan == plan
    assert {*rerun.served} <= {call.version for call in plan.calls if call.fate == "served"}
    model: Any = session._agent.provider
    assert len(model.requests) <= plan.steps_at_most
    if rerun.departure is None:
        assert rerun.served == tuple(call.version for call in plan.calls)


def _weight(*messages: Message) -> int:
    """Tokens, if each byte is one, and each message and each call is marked by a few."""
    parts = [part for message in messages for part in message.parts]
    texts = [part.text for part in parts if isinstance(part, TextPart | ToolResultPart)]
    calls = [part for part in parts if isinstance(part, ToolCallPart)]
    texts += [call.name + call.arguments for call in calls]
    return sum(map(len, texts)) + 4 * len(messages) + 9 * len(calls)


def counting(*lines: Any) -> ScriptedModel:
    """A model that counts what it is asked and what it says, byte by byte."""
    script = iter(lines)

    def answer(request: ModelRequest) -> Reply:
        line, prompt = next(script), request.prompt
        calls = () if isinstance(line, str) else tuple(line)
        text = line if isinstance(line, str) else ""
        said = Message.assistant(*([text] if text else []), *(call.part() for call in calls))
        told = len(prompt.system or "") + len(msgspec.json.encode(prompt.tools))
        used = Usage(told + _weight(*request.messages), _weight(said))
        return Reply(text=text, calls=calls, usage=used)

    return ScriptedModel(answer)


def measured(*lines: Any, edit: Any = None, **options: Any) -> tuple[Plan, Usage]:
    """The plan of a rerun, and what it then used."""
    first = [[OSLO], [ROME], "So."]
    agent = Agent(counting("Hi", *first, *lines), "m", tools=Town().tools)
    session = agent.session(system="Be brief.")
    session.run("Hello")
    started = session.version + 1
    session.run("Weather?", max_tokens=70)
    edits = {} if edit is None else {"edit": {started: edit}}
    rerun = session.rerun(**edits, **options)
    return rerun.plan, rerun.session.usage.own


@pytest.mark.parametrize(
    "lines",
    [([OSLO], [ROME], "So."), ([ROME], [OSLO], "So."), ([ROME, OSLO], "So."), ("So.",), ([NICE],)],
)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"model": "other"},
        {"system": "Be long. " * 50},
        {"edit": "How is the weather? " * 50},
        {"max_tokens": 90},
        {"tools": [*Town().tools, add]},
        {"tools": []},
    ],
)
def test_no_more_is_used(lines: Any, options: dict[str, Any]):
    """Whatever it is asked, and however it answers."""
    plan, used = measured(*lines, **options)
    assert plan.usage_at_most is not None
    assert 0 < used.input_tokens <= plan.usage_at_most.input_tokens
    assert 0 < used.output_tokens <= plan.usage_at_most.output_tokens
    assert plan.usage_at_most.output_tokens == plan.steps_at_most * options.get("max_tokens", 70)


def test_the_same_request_is_as_long_as_it_was():
    """What the provider counted counts, also where a token is longer than a byte."""
    session = known("a", "b", until=7)
    session._agent.provider._lines = iter(  # pyright: ignore[reportAttributeAccessIssue]
        [Reply(text="a", usage=Usage(11, 5)), Reply(text="b", usage=Usage(11, 5))]
    )
    session.run("Try", max_tokens=5)
    assert session.rerun(dry_run=True).usage_at_most == Usage(11, 5)
    longer = session.rerun(dry_run=True, system="Be long.").usage_at_most
    assert longer is not None
    assert longer.input_tokens > 100


def test_what_it_adds_up_to():
    """Each request holds the answers and the results before it, and 50 tokens around each."""
    agent = Agent(counting([OSLO], [ROME], "So."), "m", tools=Town().tools)
    session = agent.session()
    session.run("Weather?", max_tokens=70)
    (first, *_) = (f.event.usage for f in session.events() if isinstance(f.event, ModelResponded))
    told = 2 * (50 + len("snow in Oslo"))
    assert session.rerun(dry_run=True).usage_at_most == Usage(
        3 * (first.input_tokens + told) + (1 + 2) * (70 + 50), 3 * 70
    )


def test_inside_of_a_turn_its_own_words_count():
    """A later request holds more than the first."""
    agent = Agent(counting([OSLO], [ROME], "So.", [ROME], "So."), "m", tools=Town().tools)
    session = agent.session()
    session.run("Weather?", max_tokens=70)
    at = next(f.version for f in session.events() if f.type == "tool.returned")
    rerun = session.rerun(at)
    used = rerun.session.usage.own
    assert rerun.plan.usage_at_most is not None
    assert rerun.plan.steps_at_most == 2
    assert used.input_tokens <= rerun.plan.usage_at_most.input_tokens
    assert used.output_tokens <= rerun.plan.usage_at_most.output_tokens == 140


@pytest.mark.parametrize(
    "options", [{}, {"tool_results": "live"}, {"tool_results": "ask"}, {"schema": int}]
)
def test_nothing_bounds_it(options: RerunOptions):
    """Without max_tokens, where tools run, and where an answer may be asked for again."""
    session = known("a", until=7)
    given = {} if not options else {"max_tokens": 9}
    session.run("Try", **given)  # pyright: ignore[reportArgumentType]
    plan = session.rerun(dry_run=True, **options)
    assert (plan.usage_at_most, plan.cost_at_most) == (None, None)


def test_images_that_nobody_has_counted():
    """How many tokens one is only its provider knows; of the same request it has said so."""
    session = known(Reply(text="a", usage=Usage(11, 5)), until=7)
    session.run([ImagePart.from_bytes(b"\x89PNG")], max_tokens=9)
    assert session.rerun(dry_run=True).usage_at_most == Usage(11, 9)
    assert session.rerun(dry_run=True, system="x").usage_at_most is None


def test_results_that_nobody_has_counted():
    """An image in a result has no length in tokens."""

    def look() -> ImagePart:
        return ImagePart.from_bytes(b"\x89PNG")

    session = known(Call("look"), "So.", until=7, tools=[look])
    session.run("Try", max_tokens=9)
    assert session.rerun(dry_run=True).usage_at_most is None


class Priced(ScriptedModel):
    """A model that has a price."""

    name = "openai"


def test_what_it_costs():
    """By the price of the model that is asked; None if nobody knows one."""
    agent = Agent(Priced([Reply(text="a", usage=Usage(1000, 5))]), "gpt-4o")
    session = agent.session()
    session.run("Try", max_tokens=100)
    plan = session.rerun(dry_run=True)
    assert plan.usage_at_most == Usage(1000, 100)
    assert plan.cost_at_most == Decimal("0.0035")
    assert session.rerun(dry_run=True, model="none").cost_at_most is None


def test_tools_that_nobody_had():
    """A call of one is bounded as well: it is answered once, as it was."""
    session = known(Call("nope"), "Oh", Call("nope"), Call("nope"), until=7)
    session.run("Try")
    plan = session.rerun(dry_run=True)
    assert (plan.calls, plan.steps_at_most) == ((), 2)
    rerun = session.rerun()
    assert rerun.error is not None
    model: Any = session._agent.provider
    assert len(model.requests) - 2 == plan.steps_at_most


def test_fewer_steps_than_results():
    """What the agent allows is not exceeded either."""
    assert known(max_steps=2).rerun(dry_run=True).steps_at_most == 2
    assert known(max_steps=2).rerun(18, dry_run=True).steps_at_most == 0
    assert isinstance(known()._agent.store, LogStore)
