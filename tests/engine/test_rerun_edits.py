"""What if it had been said otherwise: a rerun with other words, of the turn and before it."""

from typing import Any

import pytest

from agent import Message, Session
from agent.engine.errors import ConfigurationError
from agent.eventstore.messages import TextPart, ToolCallPart, ToolResultPart
from tests.engine.given import shown
from tests.engine.reruns import (
    OSLO,
    ROME,
    SAME,
    Town,
    asked,
    by_hand,
    known,
    later,
    listed,
    own,
    told,
    untouched,
)


def read(session_or: Any) -> list[str]:
    """What the first request of a rerun tells the model."""
    return [message.text for message in asked(session_or)[0].messages]


# In the turn


def test_another_prompt():
    """The turn begins with it; the answers of then are held against what comes."""
    session = known("Sunny.")
    facts = list(session.events())
    rerun = session.rerun(edit={8: "Nice weather?"})
    assert (rerun.plan.turn, rerun.plan.at) == (8, 7)
    assert read(rerun) == ["Hello", "Hi", "Nice weather?"]
    assert rerun.departure is not None
    assert (rerun.departure.version, rerun.departure.kind) == (10, "tool")
    assert rerun.departure.causes == ("history",)
    untouched(session, facts)


@pytest.mark.parametrize("at", [None, 1, 8, 15, 20])
def test_another_prompt_from_anywhere(at: int | None):
    """What followed the old one is not gone on with."""
    rerun = known(*SAME).rerun(at if at != 1 else 7, edit={8: [TextPart("Weather!")]})
    assert (rerun.plan.at, own(rerun)[1]) == (7, "turn.started")
    assert read(rerun) == ["Hello", "Hi", "Weather!"]
    assert (rerun.error, rerun.departure) == (None, None)


@pytest.mark.parametrize("how", ["recorded", "ask", "live"])
def test_another_result_of_a_call(how: Any):
    """The turn goes on from right before it; nothing ran, whatever becomes of other calls."""
    town = Town()
    rerun = known("White.", town=town).rerun(edit={18: "snow"}, tool_results=how)
    assert (rerun.plan.at, rerun.served, town.asked) == (17, (18,), [])
    assert told(rerun) == [("call_16_0", "snow", False)]
    assert read(rerun)[-1] == "snow"
    assert rerun.departure is not None
    assert (rerun.departure.version, rerun.departure.kind, rerun.departure.causes) == (
        *(20, "answer"),
        ("history",),
    )


def test_a_result_before_the_version():
    """The turn goes on from before it all the same."""
    rerun = known("White.").rerun(20, edit={18: "snow"})
    assert (rerun.plan.at, rerun.served) == (17, (18,))


@pytest.mark.parametrize(
    ("edit", "at", "texts"),
    [
        ({13: "hail"}, 12, ["hail", "fog"]),
        ({14: "hail"}, 13, ["hail"]),
        ({13: "hail", 14: "mist"}, 12, ["hail", "mist"]),
        ({14: "mist", 13: "hail"}, 12, ["hail", "mist"]),
    ],
)
def test_another_result_of_a_parallel_call(edit: dict[int, str], at: int, texts: list[str]):
    """The others keep what they were told."""
    rerun = known("Wet.").rerun(edit=edit)
    assert (rerun.plan.at, [text for _, text, _ in told(rerun)]) == (at, texts)
    results = asked(rerun)[0].messages[-1].tool_results
    assert [result.text for result in results] == [edit.get(13, "sun"), edit.get(14, "fog")]


def test_a_result_that_the_turn_has_yet_to_come_to():
    """It is served when the model makes the same call."""
    rerun = known(*SAME).rerun(9, edit={18: "snow"})
    assert [text for _, text, _ in told(rerun)] == ["sun", "fog", "snow"]
    assert (rerun.error, rerun.departure) == (None, None)


def test_an_edited_result_that_is_never_asked_for():
    """It comes to nothing, and the departure says where."""
    rerun = known([OSLO, ROME], "Wet.").rerun(9, edit={18: "snow"})
    assert rerun.served == (13, 14)
    assert rerun.departure is not None
    assert (rerun.departure.version, rerun.departure.kind) == (16, "tool")


def test_an_edited_result_among_live_calls():
    """It stands; the others run."""
    town = Town()
    rerun = known(*SAME, town=town).rerun(7, edit={14: "mist"}, tool_results="live")
    assert town.asked == ["Oslo", "Bern"]
    assert told(rerun) == [("call_11_1", "mist", False)]


def test_results_of_any_type():
    """As a tool would return them."""
    rerun = known("Wet.").rerun(edit={18: {"mm": [1, 2]}})
    assert told(rerun)[0][1] == '{"mm":[1,2]}'


def test_an_error_is_edited_away():
    """The edited result is none."""

    def weather(city: str) -> str:
        raise ValueError(city)

    session = known([ROME], "Broken.", "Dry.", until=7, tools=[weather])
    session.run("Rome?")
    version = next(f.version for f in session.events() if f.type == "tool.returned")
    rerun = session.rerun(edit={version: "dry"})
    assert told(rerun) == [("call_11_0", "dry", False)]


# Before the turn


@pytest.mark.parametrize(
    ("edit", "at", "added", "place", "text"),
    [
        ({4: "Ahoy"}, 2, 8, 0, "Ahoy"),
        ({6: "Ho"}, 2, 8, 1, "Ho"),
        ({8: "Weather!"}, 7, 6, 2, "Weather!"),
        ({13: "hail"}, 7, 6, 4, "hail\nfog"),
        ({20: "Fine."}, 7, 6, 7, "Fine."),
    ],
)
def test_an_earlier_turn_said_otherwise(
    edit: dict[int, str], at: int, added: int, place: int, text: str
):
    """What comes before stays shared, the rest is added by hand; calls keep their results."""
    session = later("Bye")
    facts = list(session.events())
    rerun = session.rerun(21, edit=edit)
    assert (rerun.plan.turn, rerun.plan.at) == (22, at)
    assert own(rerun) == [
        *("session.forked", *["message.added"] * added, *(["tools.declared"] if at < 3 else [])),
        *("turn.started", "model.requested", "model.responded", "turn.completed"),
    ]
    was = ["Hello", "Hi", "Weather?", "", "sun\nfog", "", "rain", "Mixed.", "Thanks"]
    assert read(rerun) == [*was[:place], text, *was[place + 1 :]]
    assert shown(rerun.session) == [*read(rerun), "Bye"]
    assert rerun.departure is None
    untouched(session, facts)


def test_several_edits():
    """Of turns, and of the turn itself."""
    rerun = later("Bye").rerun(21, edit={20: "Fine.", 6: "Ho", 22: "Merci"})
    assert read(rerun) == [
        *("Hello", "Ho", "Weather?", "", "sun\nfog", "", "rain", "Fine.", "Merci"),
    ]


def test_without_at_the_first_turn_that_is_edited():
    """An edit of an earlier turn takes that one again."""
    assert later("Ho").rerun(edit={4: "Ahoy"}).plan.turn == 4
    assert later("Ho").rerun(edit={20: "Fine.", 22: "Merci"}, at=21).plan.turn == 22


@pytest.mark.parametrize(
    ("version", "content", "texts"),
    [
        (2, "Rain?", ["Rain?", "", "sun", "Fine.", "Thanks"]),
        (
            3,
            Message.assistant("Hm", ToolCallPart("c1", "weather", "{}")),
            ["Weather?", "Hm", "sun", "Fine.", "Thanks"],
        ),
        (
            4,
            Message.tool(ToolResultPart("c1", (TextPart("rain"),))),
            ["Weather?", "", "rain", "Fine.", "Thanks"],
        ),
        (5, "Bad.", ["Weather?", "", "sun", "Bad.", "Thanks"]),
    ],
)
def test_messages_by_hand(version: int, content: Any, texts: list[str]):
    """Each can be another one of its role."""
    rerun = by_hand().rerun(edit={version: content})
    assert read(rerun) == texts
    assert (rerun.plan.turn, rerun.error, rerun.departure) == (6, None, None)


# After the view has changed


def change(session: Session, how: str) -> None:
    """Change what is visible."""
    match how:
        case "cleared":
            session.clear()
        case "undone":
            session.undo()
        case "rewound":
            session.rewind(to=7)
        case _:
            session.compact(keep_last=2)


GONE = {"cleared": 4, "undone": 8, "rewound": 8, "compacted": 4}


@pytest.mark.parametrize("how", GONE)
def test_what_is_not_visible_cannot_be_edited(how: str):
    """It would come to nothing."""
    session = known("In short.", "Bye")
    change(session, how)
    session.add_message(Message.user("Well"))
    session.run("Thanks")
    with pytest.raises(ConfigurationError) as caught:
        session.rerun(session.version - 4, edit={GONE[how]: "Other"})
    assert str(caught.value) == (
        f"version {GONE[how]} is not in the history that the turn begins with: it was cleared, "
        "taken back, summarized, or never became a part of it"
    )
    assert listed(session) == ["s"]


@pytest.mark.parametrize(
    ("how", "edit", "texts"),
    [
        ("undone", {4: "Ahoy"}, ["Ahoy", "Hi", "Well", "Thanks"]),
        ("rewound", {6: "Ho"}, ["Hello", "Ho", "Well", "Thanks"]),
    ],
)
def test_what_is_still_visible_can_be_edited(how: str, edit: Any, texts: list[str]):
    """What was taken back stays so."""
    session = known("Bye", "Bye")
    change(session, how)
    session.add_message(Message.user("Well"))
    started = session.version + 1
    session.run("Thanks")
    rerun = session.rerun(started - 1, edit=edit)
    assert (rerun.plan.turn, rerun.error, rerun.departure) == (started, None, None)
    assert (read(rerun), rerun.plan.at) == (texts, 2)


def test_after_a_summary():
    """It stands for what it stood for; what it left is another one."""
    session = known("In short.", "Bye", "Bye")
    summary = session.compact(keep_last=2).summary
    session.run("Thanks")
    rerun = session.rerun(session.version - 4, edit={20: "Fine."})
    assert (rerun.error, rerun.departure, rerun.plan.at) == (None, None, 7)
    was = [message.text for message in session.messages]
    assert read(rerun) == [*was[:-3], "Fine.", "Thanks"]
    assert summary is not None
    assert read(rerun)[0] == was[0]
    assert own(rerun)[:3] == ["session.forked", "history.cleared", "message.added"]


def test_a_message_after_a_clear():
    """The new history begins with it."""
    session = known("Bye", "Bye")
    session.clear()
    session.add_message(Message.user("Well"))
    session.run("Thanks")
    rerun = session.rerun(edit={23: "Oh"})
    assert read(rerun) == ["Oh", "Thanks"]
    assert rerun.plan.at == 22
