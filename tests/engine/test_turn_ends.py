import pytest
from pydantic import BaseModel

from agent.engine.effects import AwaitTools, CallModel, StartTools, Wait
from agent.engine.errors import (
    BadRequest,
    LimitExceeded,
    OutputError,
    OutputRefused,
    RateLimited,
    ServerFailed,
)
from agent.engine.output import Output
from agent.engine.scripted import Call
from agent.engine.settings import Limits
from agent.eventstore.events import ModelFailed, OutputRejected, TurnFailed
from agent.eventstore.messages import Message, RefusalPart
from agent.eventstore.values import Failure, Usage
from tests.engine.given import Stage, add, answered, failed, outcome

ADD = Call("add", {"a": 1, "b": 2})
ASKED = ("turn.started", "model.requested")
ANSWERED = ("model.responded", "turn.completed")


class Tea(BaseModel):
    """A tea."""

    name: str
    minutes: int


GOOD = '{"name":"Assam","minutes":4}'
BAD = '{"name":"Assam"}'


# Retries


def ends(stage: Stage, outcome: object, kind: type[Exception]) -> Exception:
    """Send an outcome that ends the turn, and acknowledge what the turn still appends."""
    with pytest.raises(kind) as raised:
        stage.send(outcome)
    return raised.value


def test_failed_call_is_made_again():
    """A failure that may pass is recorded, waited for, and followed by another attempt."""
    stage = Stage()
    stage.begin()
    stage.go()
    assert stage.send(failed()) == Wait(0.5)
    assert isinstance(stage.send(), CallModel)
    stage.send(answered("Hello"))

    assert stage.commits == [ASKED, ("model.failed",), ("model.requested",), ANSWERED]
    assert stage.events[3] == ModelFailed(
        error=Failure("ServerFailed", "down", retryable=True), elapsed=0.5
    )


def test_waits_double():
    """Without a word from the server each wait is twice the last, less some chance."""
    stage = Stage(limits=Limits(max_retries=6), jitter=1.0)
    stage.begin()
    stage.go()
    waits = []
    for _ in range(6):
        waits.append(stage.send(failed()))
        stage.send()

    assert waits == [Wait(s * 0.75) for s in (0.5, 1.0, 2.0, 4.0, 8.0, 8.0)]


@pytest.mark.parametrize("seconds", [0.0, 7.5, 120.0])
def test_retry_after_is_honoured(seconds: float):
    """The wait that a server asks for is kept, also none at all."""
    stage = Stage()
    stage.begin()
    stage.go()

    assert stage.send(failed(retry_after=seconds)) == Wait(seconds)


def test_retry_after_is_capped():
    """A server that asks for minutes is not waited for."""
    stage = Stage()
    stage.begin()
    stage.go()
    ends(stage, failed(retry_after=120.5), ServerFailed)

    assert stage.commits == [ASKED, ("model.failed", "turn.failed")]


def test_retries_are_given_up():
    """After the allowed attempts the last error ends the turn."""
    stage = Stage(limits=Limits(max_retries=1))
    stage.begin()
    stage.go()
    stage.send(failed())
    stage.send()
    last = ServerFailed("still down", status=503, request_id="r", retryable=True)
    error = ends(stage, failed(last), ServerFailed)

    assert error is last
    assert stage.commits == [
        ASKED,
        ("model.failed",),
        ("model.requested",),
        ("model.failed", "turn.failed"),
    ]
    assert stage.events[-1] == TurnFailed(
        error=Failure("ServerFailed", "still down", 503, None, "r", retryable=True)
    )
    assert stage.journal.committed.conversation.messages == []


def test_no_retries():
    """With no retries allowed the first failure ends the turn."""
    stage = Stage(limits=Limits(max_retries=0))
    stage.begin()
    stage.go()
    ends(stage, failed(), ServerFailed)

    assert stage.commits == [ASKED, ("model.failed", "turn.failed")]


def test_permanent_failure_is_not_repeated():
    """A failure that cannot pass ends the turn at once."""
    stage = Stage()
    stage.begin()
    stage.go()
    ends(stage, failed(BadRequest("no", status=400)), BadRequest)

    assert stage.commits == [ASKED, ("model.failed", "turn.failed")]


def test_never_again_after_a_partial_answer():
    """Once a part of the answer was handed out, the call is not made again."""
    stage = Stage()
    stage.begin(stream=True)
    stage.go()
    ends(stage, failed(RateLimited("slow", retryable=True), partial="Hel"), RateLimited)

    assert stage.commits == [ASKED, ("model.failed", "turn.failed")]
    event = stage.events[3]
    assert isinstance(event, ModelFailed)
    assert event.partial == Message.assistant("Hel")


# Structured output


def test_rejected_output_is_asked_again():
    """An answer that does not fit is rejected with feedback, the next one is taken."""
    stage = Stage()
    output = Output(Tea)
    stage.begin(output=output)
    stage.go()
    asking = stage.send(answered(BAD, usage=Usage(1, 1)))
    assert isinstance(asking, CallModel)
    assert [m.role for m in asking.request.messages] == ["user", "assistant", "user"]
    stage.send(answered(GOOD, usage=Usage(1, 1)))

    assert stage.commits == [
        ASKED,
        ("model.responded", "output.rejected", "model.requested"),
        ANSWERED,
    ]
    assert stage.response is not None
    assert stage.response.output == Tea(name="Assam", minutes=4)
    assert stage.response.messages == (Message.user("Hi"), Message.assistant(GOOD))
    assert stage.response.usage == Usage(2, 2)
    rejected = next(e for e in stage.events if isinstance(e, OutputRejected))
    assert rejected.errors == ("minutes: Field required",)


def test_output_is_rejected_too_often():
    """After the allowed answers the turn fails, with the last answer and why it does not fit."""
    stage = Stage(limits=Limits(max_output_retries=1))
    stage.begin(output=Output(Tea))
    stage.go()
    stage.send(answered(BAD))
    with pytest.raises(OutputError) as raised:
        stage.send(answered("no JSON"))

    assert stage.commits == [
        ASKED,
        ("model.responded", "output.rejected", "model.requested"),
        ("model.responded", "turn.failed"),
    ]
    assert raised.value.text == "no JSON"
    assert raised.value.errors[0].startswith("value: Invalid JSON")
    assert stage.journal.committed.conversation.messages == []


def test_refused_output():
    """A refusal is no answer of the shape, and is not asked again."""
    stage = Stage()
    stage.begin(output=Output(Tea))
    stage.go()
    with pytest.raises(OutputRefused, match="the model refused: I won't"):
        stage.send(answered(RefusalPart("I won't"), reason="refusal"))

    assert stage.commits == [ASKED, ("model.responded", "turn.failed")]


def test_cut_output():
    """An answer cut at the token limit is not asked again."""
    stage = Stage()
    stage.begin(output=Output(Tea))
    stage.go()
    with pytest.raises(OutputError, match="raise max_tokens") as raised:
        stage.send(answered('{"name":"Ass', reason="length"))

    assert raised.value.text == '{"name":"Ass'
    assert stage.commits == [ASKED, ("model.responded", "turn.failed")]


@pytest.mark.parametrize("reason", ["length", "refusal", "content_filter", "other"])
def test_plain_turn_takes_any_answer(reason: str):
    """Without a shape any answer completes the turn, and says why it ended."""
    response = Stage().play(answered("Hel", reason=reason))  # pyright: ignore[reportArgumentType]

    assert (response.text, response.finish_reason) == ("Hel", reason)


def test_tools_before_structured_output():
    """The shape is checked on the answer after the tools."""
    stage = Stage(tools=[add])
    stage.begin(output=Output(Tea))
    stage.go()
    effect = stage.send(answered(calls=[ADD]))
    assert isinstance(effect, StartTools)
    stage.send()
    stage.send([outcome(effect.runs[0].context.call_id, "3")])
    stage.send(answered(GOOD))

    assert stage.response is not None
    assert stage.response.output == Tea(name="Assam", minutes=4)


# Limits


def test_step_limit():
    """A model that goes on calling tools is stopped, and the error lists what had run."""
    stage = Stage(tools=[add], limits=Limits(max_steps=2))
    stage.begin()
    stage.go()
    ids = []
    effect = stage.send(answered(calls=[ADD]))
    for _ in range(2):
        assert isinstance(effect, StartTools)
        ids.append(effect.runs[0].context.call_id)
        stage.send()
        if len(ids) < 2:
            stage.send([outcome(ids[-1], "3")])
            effect = stage.send(answered(calls=[ADD]))
    with pytest.raises(LimitExceeded) as raised:
        stage.send([outcome(ids[-1], "3")])

    assert (raised.value.limit, raised.value.completed_calls) == ("max_steps", tuple(ids))
    assert stage.commits[-1] == ("tool.returned", "turn.failed")
    event = stage.events[-1]
    assert isinstance(event, TurnFailed)
    assert event.completed_calls == tuple(ids)


@pytest.mark.parametrize("spent", [9, 10, 11])
def test_token_budget(spent: int):
    """A turn over its budget asks no further; what had run is listed. At the budget it goes on."""
    stage = Stage(tools=[add], limits=Limits(max_tokens_per_turn=10))
    stage.begin()
    stage.go()
    effect = stage.send(answered(calls=[ADD], usage=Usage(spent - 2, 2)))
    assert isinstance(effect, StartTools)
    call_id = effect.runs[0].context.call_id
    stage.send()
    if spent <= 10:
        assert isinstance(stage.send([outcome(call_id, "3")]), CallModel)
        return
    with pytest.raises(LimitExceeded, match="has used 11 of 10 tokens") as raised:
        stage.send([outcome(call_id, "3")])

    assert (raised.value.limit, raised.value.completed_calls) == ("max_tokens_per_turn", (call_id,))
    assert stage.commits[-1] == ("tool.returned", "turn.failed")


def test_an_answer_beyond_the_token_budget():
    """The answer that ends a turn is kept, and the next turn has a budget of its own."""
    stage = Stage(limits=Limits(max_tokens_per_turn=10))
    for _ in range(2):
        assert stage.play(answered("Hello", usage=Usage(10, 10))).text == "Hello"


def test_deadline_while_waiting_for_the_model():
    """The request says how long the turn has left; an answer in time goes on."""
    stage = Stage(limits=Limits(deadline=10.0))
    stage.begin()
    stage.clock.seconds = 4.0
    stage.go()

    assert isinstance(stage.effect, CallModel)
    assert stage.effect.request.deadline == 6.0


def test_deadline_before_a_retry():
    """A retry that would begin past the deadline is not waited for."""
    stage = Stage(limits=Limits(deadline=1.0))
    stage.begin()
    stage.go()
    stage.clock.seconds = 0.6
    error = ends(stage, failed(), LimitExceeded)

    assert isinstance(error, LimitExceeded)
    assert error.limit == "deadline"
    assert stage.commits == [ASKED, ("model.failed", "turn.failed")]


def test_deadline_while_tools_run():
    """Tools are waited for until the deadline; then the turn fails, naming those that had run."""
    stage = Stage(tools=[add], limits=Limits(deadline=10.0))
    stage.begin()
    stage.go()
    effect = stage.send(answered(calls=[ADD, ADD]))
    assert isinstance(effect, StartTools)
    done, late = (run.context.call_id for run in effect.runs)
    assert stage.send() == AwaitTools(10.0)
    stage.clock.seconds = 4.0
    assert stage.send([outcome(done, "3")]) == AwaitTools(6.0)
    stage.clock.seconds = 10.0
    with pytest.raises(LimitExceeded) as raised:
        stage.send([])

    assert raised.value.completed_calls == (done,)
    assert late not in raised.value.completed_calls
    assert stage.commits[-2:] == [("tool.returned",), ("turn.failed",)]


def test_an_early_wake_is_no_end():
    """No result before the deadline only means to wait on."""
    stage = Stage(tools=[add], limits=Limits(deadline=10.0))
    stage.begin()
    stage.go()
    stage.send(answered(calls=[ADD]))
    stage.send()
    stage.clock.seconds = 9.0

    assert stage.send([]) == AwaitTools(1.0)


# Pauses


def test_a_paused_answer_goes_on():
    """The model is asked again with what it has said, and the turn ends with what follows."""
    stage = Stage()
    stage.begin()
    stage.go()
    asked = stage.send(answered("Let me look", reason="paused"))
    assert isinstance(asked, CallModel)
    assert [message.text for message in asked.request.messages][-1] == "Let me look"
    stage.send(answered("Sunny"))
    assert stage.commits == [ASKED, ("model.responded", "model.requested"), ANSWERED]
