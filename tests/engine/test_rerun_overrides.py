"""What a rerun changes: each option alone and together, recorded and proven by the requests."""

from typing import Any

import pytest
from pydantic import BaseModel

from agent.engine.errors import ConfigurationError
from agent.engine.output import Output
from agent.engine.rerun import Rerun, RerunOptions
from agent.engine.scripted import ScriptedModel
from agent.engine.settings import SettingsOptions, settings_of
from agent.errors import ConflictError, InvalidSessionId
from agent.eventstore.events import SystemChanged, TurnStarted
from agent.eventstore.values import Settings
from tests.engine.given import kinds
from tests.engine.reruns import (
    ROME,
    SAME,
    Town,
    asked,
    known,
    listed,
    own,
    recorded,
    untouched,
)


def begun(rerun: Rerun) -> TurnStarted:
    """How the fork's turn began."""
    starts = [fact.event for fact in rerun.session.events()]
    return [event for event in starts if isinstance(event, TurnStarted)][-1]


def test_another_model():
    """It is recorded as chosen for this turn, asked in each request, and goes on to be asked."""
    rerun = known(*SAME, "Bye").rerun(model="other")
    assert (begun(rerun).own, rerun.plan.model) == (("model",), "other")
    assert [past.prompt.model for past in asked(rerun)] == ["other"] * 3
    rerun.session.run("Thanks")
    assert asked(rerun)[-1].prompt.model == "other"


@pytest.mark.parametrize("at", [9, 15])
def test_another_model_inside_of_a_turn(at: int):
    """It goes on with the turn."""
    rerun = known(*SAME[0 if at == 9 else 1 :]).rerun(at, model="other")
    assert {past.prompt.model for past in asked(rerun)} == {"other"}
    assert rerun.departure is None


@pytest.mark.parametrize("system", ["Be long.", None, ""])
@pytest.mark.parametrize("at", [None, 15])
def test_another_system_prompt(system: str | None, at: int | None):
    """Or none at all: it is recorded before the turn goes on."""
    rerun = known(*SAME[0 if at is None else 1 :]).rerun(at, system=system)
    assert own(rerun)[:2] == ["session.forked", "system.changed"]
    changed = list(rerun.session.events())[rerun.plan.at + 1].event
    assert changed == SystemChanged(system=system or None)
    assert {past.prompt.system for past in asked(rerun)} == {system or None}


def test_the_same_system_prompt():
    """Nothing is recorded."""
    rerun = known(*SAME).rerun(system="Be brief.")
    assert "system.changed" not in own(rerun)


def other(town: str) -> str:
    """Something else."""
    return town


def test_other_tools():
    """They are declared in the fork; a call of one that is gone has no tool."""
    session = known([ROME], "Mixed.")
    rerun = session.rerun(tools=[other])
    assert own(rerun)[1] == "tools.declared"
    assert {tool.name for past in asked(rerun) for tool in past.prompt.tools} == {"other"}
    (answer,) = [m for m in rerun.session.messages if m.role == "tool"][-1:]
    assert answer.text == "UnknownTool: there is no tool 'weather'; the tools are: other"
    assert rerun.departure is not None
    assert (rerun.departure.version, rerun.departure.kind) == (10, "tool")


def test_no_tools():
    """An empty list is none, not the agent's."""
    rerun = known("Who knows?").rerun(tools=[])
    assert asked(rerun)[0].prompt.tools == ()
    assert own(rerun)[1] == "tools.declared"


def test_other_tools_inside_of_a_turn():
    """The turn goes on with them."""
    rerun = known("Mixed.").rerun(18, tools=[other])
    assert own(rerun)[:3] == ["session.forked", "turn.resumed", "tools.declared"]
    assert [tool.name for tool in asked(rerun)[0].prompt.tools] == ["other"]


def test_tools_as_recorded():
    """An agent without tools offers those of the record; afterwards it has none."""
    rerun = known(*SAME, [ROME], "Bye", tools=[]).rerun()
    assert (rerun.error, rerun.departure) == (None, None)
    assert [tool.name for tool in asked(rerun)[0].prompt.tools] == ["weather"]
    rerun.session.run("And now?")
    (told,) = [m for m in rerun.session.messages if m.role == "tool"][-1:]
    assert told.text == "UnknownTool: there is no tool 'weather'; the tools are: none"


@pytest.mark.parametrize("how", ["ask", "live"])
def test_recorded_tools_cannot_run(how: Any):
    """It says so before anything is written."""
    session = known(tools=[])
    with pytest.raises(ConfigurationError) as caught:
        session.rerun(tool_results=how)
    assert str(caught.value) == (
        "the agent has no tools that could run: rerun with tools=[...] that are called weather, "
        'or with tool_results="recorded"'
    )
    assert listed(session) == ["s"]


SETTINGS: SettingsOptions = {
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 5,
    "max_tokens": 50,
    "stop": ["."],
    "seed": 7,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "reasoning_effort": "low",
    "reasoning_budget": 50,
    "show_reasoning": True,
    "verbosity": "low",
    "service_tier": "flex",
    "prompt_cache": "1h",
    "tool_choice": "none",
    "parallel_tool_calls": False,
    "extra": {"x": 1},
}


@pytest.mark.parametrize("name", sorted(SettingsOptions.__optional_keys__))
@pytest.mark.parametrize("at", [None, 15])
def test_another_setting(name: str, at: int | None):
    """Each is recorded as chosen for this turn, which begins anew with it."""
    chosen: Any = {name: SETTINGS[name]}
    rerun = known(*SAME).rerun(at, **chosen)
    assert (rerun.plan.at, rerun.error, rerun.departure) == (7, None, None)
    assert (begun(rerun).own, begun(rerun).settings) == ((name,), settings_of(chosen))
    assert [past.prompt.settings for past in asked(rerun)] == [settings_of(chosen)] * 3


def test_settings_join_those_that_were_chosen():
    """What is not named stays as it was."""
    session = known("a", "b", until=7)
    session.run("Try", seed=1, temperature=0.5, model="m2")
    rerun = session.rerun(seed=2)
    assert begun(rerun).settings == Settings(seed=2, temperature=0.5)
    assert begun(rerun).own == ("model", "seed", "temperature")
    assert asked(rerun)[0].prompt.model == "m2"


def test_an_idempotency_key_is_not_asked_again():
    """The key belongs to the request of then."""
    session = known("a", "b", "c", until=7)
    session.run("Try", idempotency_key="k")
    rerun = session.rerun()
    assert begun(rerun).idempotency_key is None
    assert rerun.session.run("Try", idempotency_key="k").text == "c"


class City(BaseModel):
    """A city."""

    name: str


def test_another_shape():
    """Of a plain turn as well; the value is of its type."""
    rerun = known('{"name":"Oslo"}', until=7).rerun(schema=City)
    assert rerun.response is not None
    assert rerun.response.output == City(name="Oslo")
    assert begun(rerun).output == Output(City).schema
    assert rerun.departure is not None
    assert (rerun.departure.kind, rerun.departure.causes) == ("answer", ("output schema",))


def test_the_shape_of_then():
    """Without its type the value is plain; with it, it is of its type."""
    session = known('{"name":"Oslo"}', '{"name":"Oslo"}', '{"name":"Rome"}', until=7)
    session.json("Where?", schema=City)
    plain, typed = session.rerun(), session.rerun(schema=City)
    assert plain.response is not None
    assert typed.response is not None
    assert plain.response.output == {"name": "Oslo"}
    assert typed.response.output == City(name="Rome")
    assert (plain.departure, typed.departure and typed.departure.kind) == (None, "answer")
    assert typed.departure is not None
    assert typed.departure.causes == ("sampling",)


def test_another_shape_inside_of_a_turn():
    """The turn begins anew with it; the same goes on."""
    session = known('{"name":"Oslo"}', '{"name":"Oslo"}', "1", until=7)
    session.json("Where?", schema=City)
    same, another = session.rerun(9, schema=City), session.rerun(9, schema=dict[str, int])
    assert (same.plan.at, own(same)[1]) == (9, "turn.resumed")
    assert (another.plan.at, own(another)[1]) == (7, "turn.started")


def test_a_shape_whose_type_is_not_given_is_asked_again():
    """What is no JSON does not fit."""
    session = known('{"name":"Oslo"}', "Oslo", '{"name":"Oslo"}', until=7)
    session.json("Where?", schema=City)
    rerun = session.rerun()
    assert "output.rejected" in own(rerun)
    assert rerun.response is not None
    assert rerun.response.output == {"name": "Oslo"}
    assert rerun.departure is not None
    assert (rerun.departure.kind, rerun.departure.causes) == ("answer", ("sampling",))


def test_all_at_once():
    """Model, system prompt, tools, settings, shape and prompt."""
    session = known('{"name":"Oslo"}')
    facts = list(session.events())
    rerun = session.rerun(
        model="other",
        system="Be long.",
        tools=[other],
        seed=7,
        schema=City,
        edit={8: "Where?"},
        session_id="all",
    )
    assert own(rerun) == [
        *("session.forked", "system.changed", "tools.declared", "turn.started"),
        *("model.requested", "model.responded", "turn.completed"),
    ]
    (past,) = asked(rerun)
    assert (past.prompt.model, past.prompt.system, past.prompt.settings.seed) == (
        *("other", "Be long."),
        7,
    )
    assert [message.text for message in past.messages] == ["Hello", "Hi", "Where?"]
    assert past.prompt.output == Output(City).schema
    assert begun(rerun).own == ("model", "seed")
    assert rerun.session.session_id == "all"
    untouched(session, facts)


class Elsewhere(ScriptedModel):
    """Another provider."""

    name = "elsewhere"


@pytest.mark.parametrize("at", [None, 15])
def test_another_provider(at: int | None):
    """Is asked for its own model, not for that of then."""
    session = known()
    agent = type(session._agent)(
        Elsewhere(SAME[0 if at is None else 1 :]),
        "theirs",
        store=session._agent.store,
        tools=Town().tools,
    )
    rerun = agent.session("s").rerun(at)
    made = asked(rerun)
    assert {(past.recorded.provider, past.prompt.model) for past in made} == {
        ("elsewhere", "theirs")
    }
    assert (rerun.error, rerun.departure, rerun.plan.model) == (None, None, "theirs")


def test_the_model_that_was_asked():
    """The agent's own is another by now; as it was is as it was."""
    session = known(*SAME)
    session._agent.model = "newer"
    assert [past.prompt.model for past in asked(session.rerun())] == ["m"] * 3


def test_a_streamed_turn():
    """Its requests are asked as they were, so that nothing but the model can differ."""
    session = known("Fine", "Well", until=7)
    session.stream("And?").finish()
    rerun = session.rerun()
    (past,) = asked(rerun)
    assert past.digest == session.request_at(9).digest
    assert rerun.departure is not None
    assert (rerun.departure.kind, rerun.departure.causes) == ("answer", ("sampling",))


def test_the_limits_of_the_agent():
    """Bound a rerun as any turn; a compaction that is due is left for later."""
    rerun = known(*SAME, max_steps=2).rerun()
    assert (
        str(rerun.error)
        == "the model has not finished after 2 steps; raise max_steps to allow more"
    )


SERVING = "tool_results= takes one of 'recorded', 'ask', 'live', not"
REFUSED: list[tuple[Any, str]] = [
    ({"tool_results": "none"}, f"{SERVING} 'none'"),
    ({"tool_results": ["live"]}, f"{SERVING} ['live']"),
    ({"model": ""}, "model cannot be empty text; leave it out instead"),
    ({"model": 4}, "model cannot be 4, of type int"),
    ({"system": 4}, "a system prompt is text, not int"),
    ({"tools": "weather"}, "tools= takes a list of functions, not 'weather'"),
    ({"tools": None}, "tools= takes a list of functions, not None"),
    ({"seed": "x"}, "seed cannot be 'x', of type str"),
    ({"idempotency_key": "k"}, "a rerun is asked anew each time: it takes no idempotency_key"),
]


@pytest.mark.parametrize(("options", "words"), REFUSED)
@pytest.mark.parametrize("dry_run", [False, True])
def test_refused_options(options: Any, words: str, dry_run: Any):
    """Before anything is written."""
    session = known()
    with pytest.raises(ConfigurationError) as caught:
        session.rerun(dry_run=dry_run, **options)
    assert str(caught.value) == words
    assert listed(session) == ["s"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"schema": None}, ConfigurationError),
        ({"sed": 1}, TypeError),
        ({"session_id": ""}, InvalidSessionId),
        ({"session_id": "s"}, ConflictError),
        ({"system": "\ud800"}, Exception),
    ],
)
def test_options_that_others_refuse(options: RerunOptions, error: type[Exception]):
    """As elsewhere; nothing is written."""
    session = known()
    facts = list(session.events())
    with pytest.raises(error):
        session.rerun(**options)
    assert listed(session) == ["s"]
    untouched(session, facts)


def test_every_option_is_known():
    """The settings above are all that there are."""
    assert SETTINGS.keys() == SettingsOptions.__optional_keys__
    assert kinds(known()) == [fact.type for fact in recorded()]
