import pytest

from agent.engine.effects import (
    AwaitTools,
    CallModel,
    LoadAttachments,
    StartTools,
)
from agent.engine.errors import ConfigurationError
from agent.engine.journal import Journal
from agent.engine.scripted import Call
from agent.engine.stream import Response, ToolCallEvent, ToolResultEvent
from agent.eventstore.errors import InvalidEvent
from agent.eventstore.events import (
    MessageAdded,
    ModelRequested,
    ModelResponded,
    ToolCalled,
    ToolReturned,
    ToolsDeclared,
    TurnAbandoned,
    TurnCompleted,
    TurnStarted,
)
from agent.eventstore.messages import (
    Blob,
    ImagePart,
    Message,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from agent.eventstore.values import Settings, Usage
from agent.projections.pairing import PairingError
from agent.projections.session import SessionState
from agent.projections.usage import ModelUsage
from tests.engine.given import OWNER, STARTED, Stage, add, answered, fail, failed, outcome

ADD = Call("add", {"a": 1, "b": 2})
PLAIN = [("turn.started", "model.requested"), ("model.responded", "turn.completed")]


def test_plain_turn_makes_two_commits():
    """A plain turn appends its request, then its answer with its end."""
    stage = Stage()
    response = stage.play(answered("Hello", usage=Usage(3, 4)))

    assert stage.commits == PLAIN
    assert response == Response(
        text="Hello",
        output=None,
        messages=(Message.user("Hi"), Message.assistant("Hello")),
        tool_calls=(),
        spent=(ModelUsage("scripted", "m", Usage(3, 4)),),
        finish_reason="stop",
        model="m",
        version=5,
    )


def test_plain_turn_records_exactly_this():
    """Every field of a plain turn's events is what was asked and answered."""
    stage = Stage()
    stage.begin(settings=Settings(temperature=0.5), stream=True)
    effect = stage.go()
    assert isinstance(effect, CallModel)
    stage.send(answered("Hello", usage=Usage(3, 4)))

    assert stage.events[1:] == [
        TurnStarted(input=Message.user("Hi"), settings=Settings(temperature=0.5), owner=OWNER),
        ModelRequested(
            step=1,
            attempt=1,
            provider="scripted",
            api="scripted",
            model="m",
            stream=True,
            encoder="scripted/1",
            digest=effect.request.digest,
        ),
        ModelResponded(
            message=Message.assistant("Hello"),
            finish_reason="stop",
            usage=Usage(3, 4),
            elapsed=0.5,
        ),
        TurnCompleted(),
    ]


def test_history_is_what_turns_left():
    """Each turn's request holds the history, and its messages enter it at the end."""
    stage = Stage()
    stage.play(answered("b"), prompt="a")
    stage.begin("c")
    effect = stage.go()

    assert isinstance(effect, CallModel)
    assert [m.text for m in effect.request.messages] == ["a", "b", "c"]
    stage.send(answered("d"))
    assert [m.text for m in stage.journal.committed.conversation.messages] == list("abcd")


def test_turn_opens_a_new_stream_with_its_first_commit():
    """What opens the stream shares the first commit."""
    stage = Stage()
    stage.journal = Journal("s", SessionState(), stage.setup.sources)
    stage.journal.record(STARTED)
    stage.journal.keep()
    stage.play(answered("Hello"))

    assert stage.commits == [("session.started", *PLAIN[0]), PLAIN[1]]


# Tools


def test_tool_turn_makes_four_commits():
    """Intents are durable with the answer that asks for them, a result with the next request."""
    stage = Stage(tools=[add])
    stage.begin()
    stage.go()
    starting = stage.send(answered("Let me see.", calls=[ADD]))
    assert isinstance(starting, StartTools)
    (run,) = starting.runs
    assert isinstance(stage.send(), AwaitTools)
    asking = stage.send([outcome(run.context.call_id, "3")])
    assert isinstance(asking, CallModel)
    assert stage.send(answered("Three.")) is None

    assert stage.commits == [
        ("tools.declared", "turn.started", "model.requested"),
        ("model.responded", "tool.called"),
        ("tool.returned", "model.requested"),
        ("model.responded", "turn.completed"),
    ]
    assert (run.arguments, run.context.session_id) == ('{"a":1,"b":2}', "s")
    assert stage.events[-5:-3] == [
        ToolCalled(call_id=run.context.call_id, tool="add"),
        ToolReturned(call_id=run.context.call_id, content=(TextPart("3"),), elapsed=0.25),
    ]


def test_tool_is_told_the_hash_of_its_intent():
    """The idempotency key of a call is the hash of its `tool.called`."""
    stage = Stage(tools=[add])
    stage.begin()
    stage.go()
    effect = stage.send(answered(calls=[ADD]))

    assert isinstance(effect, StartTools)
    (called,) = [fact for fact in stage.facts if fact.type == "tool.called"]
    assert effect.runs[0].context.idempotency_key == called.hash.hex()


def test_parallel_results_are_committed_as_they_come():
    """Results in two batches make two commits; the request has them in the order of the calls."""
    stage = Stage(tools=[add])
    stage.begin()
    stage.go()
    effect = stage.send(answered(calls=[ADD, ADD, ADD]))
    assert isinstance(effect, StartTools)
    first, second, third = (run.context.call_id for run in effect.runs)
    stage.send()
    assert stage.send([outcome(third, "c"), outcome(first, "a")]) == AwaitTools(None)
    assert isinstance(stage.send([outcome(second, "b")]), CallModel)
    stage.send(answered("Done"))

    assert stage.commits == [
        ("tools.declared", "turn.started", "model.requested"),
        ("model.responded", "tool.called", "tool.called", "tool.called"),
        ("tool.returned", "tool.returned"),
        ("tool.returned", "model.requested"),
        ("model.responded", "turn.completed"),
    ]
    assert stage.response is not None
    assert stage.response.messages[2] == Message.tool(
        *(
            ToolResultPart(call_id, (TextPart(text),))
            for call_id, text in ((first, "a"), (second, "b"), (third, "c"))
        )
    )


def test_calls_and_results_are_announced_when_durable():
    """The caller hears of a call and of a result after its commit, in order."""
    stage = Stage(tools=[add])
    stage.begin()
    stage.go()
    effect = stage.send(answered(calls=[ADD]))
    assert isinstance(effect, StartTools)
    call_id = effect.runs[0].context.call_id
    assert stage.announced == [ToolCallEvent(call_id, "add", '{"a":1,"b":2}')]
    stage.send()
    stage.send([outcome(call_id, "no", is_error=True)])

    assert stage.announced[1:] == [ToolResultEvent(call_id, "add", "no", is_error=True)]


def test_unknown_tool_is_answered_at_once():
    """A call of a tool that does not exist gets an error result, without an intent."""
    stage = Stage(tools=[add, fail])
    stage.begin()
    stage.go()
    assert isinstance(stage.send(answered(calls=[Call("subtract")])), CallModel)
    stage.send(answered("Sorry"))

    assert stage.commits == [
        ("tools.declared", "turn.started", "model.requested"),
        ("model.responded", "tool.returned"),
        ("model.requested",),
        ("model.responded", "turn.completed"),
    ]
    text = "UnknownTool: there is no tool 'subtract'; the tools are: add, fail"
    assert stage.events[5] == ToolReturned(
        call_id="call_5_0", content=(TextPart(text),), is_error=True
    )


def test_unknown_tool_beside_a_known_one():
    """An unknown tool among parallel calls does not keep the others from running."""
    stage = Stage(tools=[add])
    stage.begin()
    stage.go()
    effect = stage.send(answered(calls=[Call("subtract"), ADD]))
    assert isinstance(effect, StartTools)
    (run,) = effect.runs
    stage.send()
    stage.send([outcome(run.context.call_id, "3")])
    stage.send(answered("Three"))

    assert stage.commits[1:3] == [
        ("model.responded", "tool.returned", "tool.called"),
        ("tool.returned", "model.requested"),
    ]
    assert stage.response is not None
    results = stage.response.messages[2].tool_results
    assert [result.is_error for result in results] == [True, False]


def test_no_tools_at_all():
    """A call is answered even where an agent has no tools."""
    stage = Stage()
    stage.play(answered(calls=[ADD]), answered("Sorry"))
    returned = next(event for event in stage.events if isinstance(event, ToolReturned))

    assert returned.content == (
        TextPart("UnknownTool: there is no tool 'add'; the tools are: none"),
    )


@pytest.mark.parametrize("ids", [("", ""), ("x", "x"), ("x", ""), ("call_5_0", "call_5_0")])
def test_own_call_ids_are_unique(ids: tuple[str, str]):
    """Every call has an id of ours, whatever the provider repeats or omits; its own is kept."""
    stage = Stage()
    calls = [Call("f", {}, given) for given in ids]
    response = stage.play(answered(calls=calls), answered(calls=calls), answered("Done"))
    named = [call.call_id for call in response.tool_calls]

    assert len(set(named)) == len(named) == 4
    assert [call.provider_id for call in response.tool_calls] == [i or None for i in ids] * 2


def test_tools_are_declared_only_when_they_change():
    """Tools are declared in the first turn, and again only when they differ."""
    stage = Stage(tools=[add])
    stage.play(answered("a"))
    stage.play(answered("b"))
    other = Stage(tools=[add, fail])
    stage.setup = other.setup
    stage.play(answered("c"))
    stage.setup = Stage().setup
    stage.play(answered("d"))
    stage.play(answered("e"))
    declared = [e for e in stage.events if isinstance(e, ToolsDeclared)]

    assert [commit[0] for commit in stage.commits[::2]] == [
        "tools.declared",
        "turn.started",
        "tools.declared",
        "tools.declared",
        "turn.started",
    ]
    assert [[tool.name for tool in event.tools] for event in declared] == [
        ["add"],
        ["add", "fail"],
        [],
    ]


# Attachments


def test_attachments_are_loaded_once():
    """What is not at hand is asked for, by digest, once per attachment and turn."""
    picture = Blob.of(b"picture")
    stored = ImagePart(Blob(picture.digest, picture.size), "image/png")
    stage = Stage()
    stage.begin(Message.user("See", stored, stored))

    assert stage.effect == LoadAttachments([picture.digest])
    assert isinstance(stage.send({picture.digest: b"picture"}), CallModel)
    stage.send(answered("Nice"))
    stage.begin("And?")
    assert isinstance(stage.go(), CallModel)


def test_attachments_at_hand_are_not_loaded():
    """The bytes of a new attachment are taken from the message itself."""
    stage = Stage()
    stage.begin(Message.user("See", ImagePart.from_bytes(b"picture")))

    assert isinstance(stage.go(), CallModel)


# An interrupted turn


def test_interrupted_turn_is_abandoned_first():
    """A turn that a dead process left open is abandoned before anything else."""
    stage = Stage(TurnStarted(input=Message.user("lost"), settings=Settings(), owner=OWNER))
    response = stage.play(answered("Hello"))

    assert stage.commits == [("turn.abandoned", *PLAIN[0]), PLAIN[1]]
    assert stage.events[2] == TurnAbandoned(reason="interrupted")
    assert [m.text for m in response.messages] == ["Hi", "Hello"]


def test_interrupted_turn_with_calls_is_abandoned():
    """Calls of unknown outcome do not keep an interrupted turn from being abandoned."""
    before = Stage(tools=[add])
    before.begin()
    before.go()
    before.send(answered(calls=[ADD]))
    stage = Stage(*before.events[1:], tools=[add])
    response = stage.play(answered("Hello"))

    assert stage.commits == [("turn.abandoned", *PLAIN[0]), PLAIN[1]]
    assert stage.journal.committed.conversation.messages == list(response.messages)


def test_what_cannot_be_recorded_leaves_an_interrupted_turn():
    """An input that no log can keep raises that, and records no end of another turn."""
    stage = Stage(TurnStarted(input=Message.user("lost"), settings=Settings(), owner=OWNER))
    with pytest.raises(InvalidEvent, match="lone surrogate"):
        stage.begin("\ud800")

    assert stage.commits == []


def test_a_tool_that_is_not_there_is_refused_before_anything_is_recorded():
    """A choice that cannot be kept begins no turn, and ends no interrupted one."""
    stage = Stage(TurnStarted(input=Message.user("lost"), settings=Settings(), owner=OWNER))
    with pytest.raises(ConfigurationError, match="tool_choice='required' can do nothing"):
        stage.begin(settings=Settings(tool_choice="required"))

    assert stage.commits == []


def test_history_that_is_unpaired_is_refused_before_anything_is_sent():
    """An unpaired history ends the turn before its first commit."""
    call = Message.assistant(ToolCallPart("x", "f", "{}"))
    stage = Stage(MessageAdded(message=call))
    with pytest.raises(PairingError) as raised:
        stage.begin()

    assert (raised.value.call_id, stage.commits) == ("x", [])


def test_unpaired_history_leaves_an_interrupted_turn():
    """An unpaired history is refused without recording anything about an interrupted turn."""
    call = Message.assistant(ToolCallPart("x", "f", "{}"))
    lost = TurnStarted(input=Message.user("lost"), settings=Settings(), owner=OWNER)
    stage = Stage(MessageAdded(message=call), lost)
    with pytest.raises(PairingError):
        stage.begin()

    assert stage.commits == []


def test_steps_are_numbered():
    """Every request says which step and which attempt it is."""
    stage = Stage()
    stage.play(failed(), None, answered(calls=[ADD]), failed(), None, answered("Done"))
    asked = [(e.step, e.attempt) for e in stage.events if isinstance(e, ModelRequested)]

    assert asked == [(1, 1), (1, 2), (2, 1), (2, 2)]


@pytest.mark.parametrize(
    ("choice", "later"), [("required", None), ("add", None), ("auto", "auto"), ("none", "none")]
)
def test_a_forced_call_is_forced_once(choice: str, later: str | None):
    """After the first answer the model may end the turn; the log has what was asked for."""
    stage = Stage(tools=[add])
    stage.begin(settings=Settings(tool_choice=choice))
    first, starting = stage.go(), stage.send(answered(calls=[ADD]))
    assert isinstance(starting, StartTools)
    stage.send()
    second = stage.send([outcome(starting.runs[0].context.call_id, "3")])

    assert [
        effect.request.prompt.settings.tool_choice
        for effect in (first, second)
        if isinstance(effect, CallModel)
    ] == [choice, later]
    assert [e.settings.tool_choice for e in stage.events if isinstance(e, TurnStarted)] == [choice]
