import hashlib
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent import Agent
from agent.engine.provider import MessageContext, ModelRequest, Prompt
from agent.engine.request import RequestBuilder, in_words
from agent.engine.scripted import ScriptedModel
from agent.eventstore.events import MessageAdded, ModelRequested
from agent.eventstore.messages import Blob, ImagePart, Message, TextPart, ToolCallPart
from agent.eventstore.record import Recorded
from agent.eventstore.values import Excerpt, Settings
from agent.projections import conversation
from agent.projections.conversation import Conversation
from agent.projections.fold import rebuild
from agent.projections.pairing import PairingError
from tests.engine.given import digests, rebuilt
from tests.projections.given import (
    STARTED,
    added,
    asked,
    begun,
    called,
    folded,
    forked,
    recorded,
    requested,
    returned,
    turn,
)
from tests.projections.histories import PICTURES, History, histories, stored

MODEL = ScriptedModel([])
STORED: Mapping[str, bytes] = {Blob.of(data).digest: data for data in PICTURES}


class Embedding(ScriptedModel):
    """A model whose bytes hold the system prompt first and the attachments themselves."""

    encoder = "embedding/1"

    def encode_message(self, message: Message, context: MessageContext) -> list[bytes]:
        """One item per part, so that a message may be none or several."""
        embedded = b"".join(context.attachments[blob.digest] for blob in message.blobs())
        return [f"{context.model}:{part!r}".encode() + embedded for part in message.parts]


def prompt_of(state: Conversation, model: str = "m", *, stream: bool = False) -> Prompt:
    """What a turn would ask with."""
    return Prompt(model, state.system, state.tools.definitions, Settings(), None, stream)


def build(
    builder: RequestBuilder, state: Conversation, model: str = "m", provider: ScriptedModel = MODEL
) -> ModelRequest:
    """A request, given exactly the attachments that the builder asks for."""
    prompt = prompt_of(state, model)
    needed = builder.attachments(state, provider, prompt)
    assert len(needed) == len(set(needed))
    return builder.build(state, provider, prompt, {digest: STORED[digest] for digest in needed})


def askings(facts: list[Recorded]) -> Iterator[Conversation]:
    """The conversation at every moment at which the model was asked."""
    state = Conversation()
    for fact in facts:
        if isinstance(fact.event, ModelRequested):
            yield state
        state = conversation.evolve(state, fact)


def said(state: Conversation) -> list[Message]:
    """Everything that the model must read."""
    if state.turn is None:
        return state.messages
    excerpt = state.turn.input.excerpt or Excerpt()
    history = state.messages[excerpt.start : excerpt.end]
    if state.turn.input.kind == "compaction":
        history = [in_words(message) for message in history]
    return [*history, *state.turn.messages]


@pytest.mark.parametrize("provider", [MODEL, Embedding([])], ids=["scripted", "embedding"])
@given(history=histories(), data=st.data())
def test_building_on_equals_building_anew(
    provider: ScriptedModel, history: History, data: st.DataObject
):
    """At every step of any history the kept encodings give the bytes of a new builder.

    Models are switched, builders branch and are dropped on the way.
    """
    builder = RequestBuilder()
    for state in askings(stored(history.facts)):
        model = data.draw(st.sampled_from("mn"))
        if data.draw(st.integers(0, 3)) == 0:
            builder = builder.branch()
        kept = build(builder, state, model, provider)
        fresh = build(RequestBuilder(), state, model, provider)

        assert kept.body == fresh.body
        assert kept.digest == fresh.digest == hashlib.sha256(kept.body).hexdigest()
        assert kept.messages == said(state)


@given(histories())
def test_two_branches_of_a_builder(history: History):
    """A branch and its origin build the same from then on, without disturbing each other."""
    builder = RequestBuilder()
    for state in askings(stored(history.facts)):
        other = builder.branch()
        build(other, state, "n")
        mine, yours = build(builder, state), build(other, state)

        assert mine.body == yours.body
        assert mine.digest == yours.digest == hashlib.sha256(mine.body).hexdigest()


@given(histories())
def test_old_requests_keep_their_bytes(history: History):
    """A request's bytes stay the same whatever is built after it."""
    builder = RequestBuilder()
    requests = [build(builder, state) for state in askings(history.facts)]

    assert [hashlib.sha256(r.body).hexdigest() for r in requests] == [r.digest for r in requests]


def test_body():
    """The body is the frame around the history and the open turn, separated by commas."""
    state = folded(*turn("a", "b"), begun("c"))
    request = build(RequestBuilder(), state)
    frame = MODEL.encode_frame(prompt_of(state))
    messages = [MODEL.encode_message(message, MessageContext("m"))[0] for message in said(state)]

    assert request.body == frame.start + b",".join(messages) + frame.end
    assert request.messages == said(state)


def test_earlier_bytes_never_change():
    """Another turn, and a fork, leave every byte of the earlier messages as it was."""
    first = [*turn("a", "b"), begun("c")]
    second = [*turn("a", "b"), *turn("c", "d"), begun("e")]
    facts = recorded(STARTED, *turn("a", "b"))
    in_fork = recorded(forked(facts), begun("c"), after=facts)
    child = rebuild(conversation.evolve, [*facts, *in_fork], Conversation())
    builder = RequestBuilder()
    one, two = build(builder, folded(*first)).body, build(builder, folded(*second)).body
    end = MODEL.encode_frame(prompt_of(child)).end

    assert two.startswith(one.removesuffix(end))
    assert build(RequestBuilder(), child).body == one


def test_nothing_of_the_session_is_sent():
    """Session id, parent and times are in no request: two sessions send equal bytes."""
    facts = recorded(STARTED, *turn("a", "b"))
    child = rebuild(
        conversation.evolve,
        [*facts, *recorded(forked(facts, child="secret-id"), begun("c"), after=facts)],
        Conversation(),
    )
    body = build(RequestBuilder(), child).body

    assert b"secret-id" not in body
    assert body == build(RequestBuilder(), folded(*turn("a", "b"), begun("c"))).body


def test_attachments_are_asked_for_once():
    """What was encoded needs its attachments no more; a new encoding does."""
    picture = Blob.of(PICTURES[0])
    part = ImagePart(Blob(picture.digest, picture.size), "image/png")
    builder = RequestBuilder()
    message = Message.user("See", part, part)
    state = folded(begun())
    assert state.turn is not None
    open_turn = conversation.replace(state.turn, messages=(message,))
    state = conversation.replace(state, turn=open_turn)

    assert builder.attachments(state, MODEL, prompt_of(state)) == [picture.digest]
    builder.build(state, MODEL, prompt_of(state), {picture.digest: PICTURES[0]})
    assert builder.attachments(state, MODEL, prompt_of(state)) == []
    assert builder.attachments(state, MODEL, prompt_of(state, "n")) == [picture.digest]
    assert RequestBuilder().attachments(state, MODEL, prompt_of(state)) == [picture.digest]


def test_encoded_messages_are_not_encoded_again():
    """Each message is encoded once per provider and model, however many turns follow."""
    encoded: list[str] = []

    class Counting(ScriptedModel):
        def encode_message(self, message: Message, context: MessageContext) -> list[bytes]:
            encoded.append(f"{context.model}:{message.text}")
            return list(super().encode_message(message, context))

    model, builder = Counting([]), RequestBuilder()
    events = [*turn("a", "b"), *turn("c", "d"), begun("e")]
    facts = recorded(STARTED, *events)
    state = Conversation()
    for fact in facts:
        state = conversation.evolve(state, fact)
        if state.turn and not state.turn.request:
            builder.build(state, model, prompt_of(state), {})

    assert sorted(encoded) == ["m:a", "m:b", "m:c", "m:d", "m:e"]


def test_a_summary_is_asked_for_in_words():
    """What is kept of requests that show a picture serves none that names it, nor the reverse."""
    pictured = MessageAdded(message=Message.user("See", ImagePart.from_bytes(PICTURES[0])))
    summing = replace(begun("c"), kind="compaction")
    builder = RequestBuilder()
    for events in ([pictured, begun("c")], [pictured, summing], [pictured, begun("c")]):
        state = folded(*events)
        kept = build(builder, state)

        assert kept.body == build(RequestBuilder(), state).body
        assert (b"[image: image/png]" in kept.body) == (events[-1] is summing)


def test_a_window_is_encoded_in_proportion_to_itself():
    """With a window each message is encoded twice at most, however long the history is."""
    encoded: list[str] = []

    class Counting(ScriptedModel):
        def encode_message(self, message: Message, context: MessageContext) -> list[bytes]:
            encoded.append(message.text)
            return list(super().encode_message(message, context))

    model = Counting(lambda _: "a")
    session = Agent(model, "m", window=20).session()
    for number in range(100):
        session.run(f"q{number}")
    read = [request.messages for request in model.requests]

    assert len(encoded) <= 2 * 200 + 20
    assert all(len(messages) <= 21 and messages[0].role == "user" for messages in read)
    assert [len(messages) for messages in read[10:25]] == [
        21,
        13,
        15,
        17,
        19,
        21,
        *[13, 15, 17, 19, 21] * 2,
    ][:15]
    assert len(session.messages) == 200
    anew = [hashlib.sha256(body).hexdigest() for body in rebuilt(session, MODEL)]
    assert digests(session) == anew


@pytest.mark.parametrize(
    "events",
    [
        [begun(), requested(), asked("x")],
        [begun(), requested(), asked("x", "y"), called("x"), returned("x", "")],
        [added("a"), begun(), requested(), asked("x")],
    ],
)
def test_waiting_calls_are_refused(events: list):
    """A request with a call that has no result is refused before anything is sent."""
    with pytest.raises(PairingError, match="has no result"):
        build(RequestBuilder(), folded(*events))


def test_refused_history_can_be_mended():
    """After a refusal the same builder builds what was mended, byte by byte as a new one."""
    from agent.eventstore.events import HistoryCleared, MessageAdded

    call = MessageAdded(message=Message.assistant(ToolCallPart("x", "t", "{}")))
    builder = RequestBuilder()
    build(builder, folded(*turn("a", "b"), begun("c")))
    broken = folded(*turn("a", "b"), call, begun("c"))
    for _ in range(2):
        with pytest.raises(PairingError):
            build(builder, broken)
    mended = folded(*turn("a", "b"), call, HistoryCleared(), begun("c"))

    assert build(builder, mended).body == build(RequestBuilder(), mended).body
    before = folded(*turn("a", "b"), begun("c"))
    assert build(builder, before).body == build(RequestBuilder(), before).body


def test_empty_messages():
    """A message without parts is still a message."""
    state = folded(begun(""))
    assert said(state) == [Message("user", (TextPart(""),))]

    assert build(RequestBuilder(), state).body.startswith(b'{"messages":[{"role":"user"')
