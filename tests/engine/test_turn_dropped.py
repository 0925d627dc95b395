from typing import Any

import pytest

from agent.engine.effects import (
    Append,
    AwaitTools,
    CallModel,
    LoadAttachments,
    StartTools,
    TurnDropped,
    Wait,
)
from agent.engine.scripted import Call
from agent.eventstore.events import ModelFailed, TurnAbandoned, TurnStarted
from agent.eventstore.messages import Blob, ImagePart, Message
from agent.eventstore.values import Failure, Settings
from agent.projections import session
from agent.projections.fold import rebuild
from agent.projections.session import SessionState
from tests.engine.given import OWNER, Stage, add, answered, failed, outcome

PICTURE = Blob.of(b"picture")
PROMPT = Message.user("See", ImagePart(Blob(PICTURE.digest, PICTURE.size), "image/png"))
PARTIAL = Message.assistant("Hel")
LOST = TurnStarted(input=Message.user("lost"), settings=Settings(), owner=OWNER)


class Play:
    """A turn with everything in it, whose outcomes follow from its effects."""

    def __init__(self, *before: Any) -> None:
        self.stage = Stage(*before, tools=[add])
        self.answers = iter(
            [
                answered(calls=[Call("add", {"a": n, "b": n}) for n in range(3)]),
                failed(),
                answered("Done"),
            ]
        )
        self.ids: list[str] = []
        self.stage.begin(PROMPT)

    def outcome(self) -> object:
        """What the present effect is answered with."""
        match self.stage.effect:
            case CallModel():
                return next(self.answers)
            case LoadAttachments():
                return {PICTURE.digest: b"picture"}
            case StartTools(runs):
                self.ids = [run.context.call_id for run in runs]
            case AwaitTools():
                batch, self.ids = self.ids[-2:], self.ids[:-2]
                return [outcome(call_id, "x") for call_id in batch]
            case _:
                pass
        return None

    def advance(self, effects: int) -> None:
        """Answer this many effects."""
        for _ in range(effects):
            self.stage.answer(self.outcome())


def length(*before: Any) -> int:
    """How many effects the whole turn has."""
    play, count = Play(*before), 0
    while play.stage.effect is not None:
        play.advance(1)
        count += 1
    return count


ALL = range(length())


def expected_end(types: list[str]) -> list[str]:
    """The types that must end a turn which was dropped after these."""
    if "turn.started" not in types or types[-1] == "turn.completed":
        return []
    waiting = types.count("model.requested") > types.count("model.responded") + types.count(
        "model.failed"
    )
    return [*(["model.failed"] if waiting else []), "turn.abandoned"]


def drop(stage: Stage) -> None:
    """Tell the turn that its caller is gone, and make the appends that it still wants."""

    def told() -> None:
        stage.throw(TurnDropped("gone", PARTIAL, 0.75))
        stage.go()

    with pytest.raises(TurnDropped):
        told()


def test_the_play_has_every_effect():
    """The turn that is dropped everywhere below has each kind of effect and of commit."""
    play, seen = Play(), []
    while play.stage.effect is not None:
        seen.append(type(play.stage.effect).__name__)
        play.advance(1)

    assert seen == [
        *("LoadAttachments", "Append", "CallModel"),
        *("Append", "Emit", "Emit", "Emit", "StartTools", "AwaitTools"),
        *("Append", "Emit", "Emit", "AwaitTools"),
        *("Append", "Emit", "CallModel", "Append", "Wait", "Append", "CallModel", "Append"),
    ]
    assert play.stage.commits == [
        ("tools.declared", "turn.started", "model.requested"),
        ("model.responded", "tool.called", "tool.called", "tool.called"),
        ("tool.returned", "tool.returned"),
        ("tool.returned", "model.requested"),
        ("model.failed",),
        ("model.requested",),
        ("model.responded", "turn.completed"),
    ]


@pytest.mark.parametrize("effects", ALL)
@pytest.mark.parametrize("landed", [False, True])
def test_dropped_at_every_effect(effects: int, landed: bool):
    """A turn dropped at any effect is abandoned once, and what is committed is consistent.

    An append in flight may have landed or not.
    """
    play = Play()
    play.advance(effects)
    stage = play.stage
    if landed and isinstance(stage.effect, Append):
        stage.acknowledge(stage.effect)
    before = stage.types
    drop(stage)

    assert stage.types == [*before, *expected_end(before)]
    committed = stage.journal.committed
    assert committed.conversation.turn is None
    assert committed == rebuild(session.evolve, stage.facts, SessionState())
    assert stage.journal.pending == ()
    done = bool(before) and before[-1] == "turn.completed"
    assert bool(committed.conversation.messages) == done


@pytest.mark.parametrize("effects", ALL)
def test_next_turn_after_a_dropped_one(effects: int):
    """After a drop anywhere the next turn is a plain one."""
    play = Play()
    play.advance(effects)
    drop(play.stage)
    before = len(play.stage.commits)
    response = play.stage.play(answered("Hello"), prompt="Next")

    assert [m.text for m in response.messages] == ["Next", "Hello"]
    first, second = play.stage.commits[before:]
    assert first[-2:] == ("turn.started", "model.requested")
    assert second == ("model.responded", "turn.completed")


def test_drop_is_recorded_with_the_partial_answer():
    """A turn dropped while the model answers keeps what had arrived, and the reason."""
    play = Play()
    play.advance(2)
    assert isinstance(play.stage.effect, CallModel)
    drop(play.stage)

    assert play.stage.events[-2:] == [
        ModelFailed(error=Failure("TurnDropped", "gone"), partial=PARTIAL, elapsed=0.75),
        TurnAbandoned(reason="gone"),
    ]


def test_drop_while_waiting_to_retry():
    """A turn dropped between two attempts is abandoned without another failure."""
    play = Play()
    while not isinstance(play.stage.effect, Wait):
        play.advance(1)
    drop(play.stage)

    assert play.stage.types[-2:] == ["model.failed", "turn.abandoned"]


@pytest.mark.parametrize("effects", range(length(LOST)))
def test_dropped_after_an_interrupted_turn(effects: int):
    """A turn that found another one open ends both once it has begun, and neither before."""
    play = Play(LOST)
    play.advance(effects)
    before = play.stage.types
    drop(play.stage)

    assert play.stage.types == [*before, *expected_end(before)]
    still_open = play.stage.journal.committed.conversation.turn
    assert (still_open is None) == ("turn.started" in before)
    assert play.stage.types.count("turn.abandoned") <= 2
