import pytest

from agent.eventstore.messages import Message, ToolCallPart, ToolResultPart
from agent.projections.pairing import Pairing, PairingError


def calls(*call_ids: str) -> Message:
    """A model's message with these calls."""
    return Message.assistant("Let me see.", *(ToolCallPart(c, "t", "{}") for c in call_ids))


def results(*call_ids: str) -> Message:
    """A message with these results."""
    return Message.tool(*(ToolResultPart(c, ()) for c in call_ids))


def check(*messages: Message) -> None:
    """Read a whole history."""
    pairing = Pairing()
    for message in messages:
        pairing.see(message)
    pairing.end()


HI, HELLO = Message.user("Hi"), Message.assistant("Hello")


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [HI],
        [HI, HELLO, HI, HI],
        [HELLO],
        [HI, calls("x"), results("x")],
        [HI, calls("x", "y"), results("y", "x"), HELLO],
        [HI, calls("x"), results("x"), calls("y"), results("y"), HELLO],
        [HI, calls("x"), results("x"), HI, calls("x"), results("x")],
        [Message.user(ToolCallPart("x", "t", "{}")), results("x")],
    ],
)
def test_paired_histories(messages: list[Message]):
    """Calls that are all answered in the very next message are in order."""
    check(*messages)


@pytest.mark.parametrize(
    ("messages", "call_id", "reason"),
    [
        ([calls("x")], "x", "has no result"),
        ([calls("x"), HI], "x", "has no result; the next message must be Message.tool"),
        (
            [calls("x"), HELLO, results("x")],
            "x",
            "has no result; the next message must be Message.tool",
        ),
        (
            [calls("x", "y"), results("x")],
            "y",
            "has no result; the next message must be Message.tool",
        ),
        (
            [calls("x", "y"), results("x"), results("y")],
            "y",
            "has no result; the next message must be Message.tool",
        ),
        ([results("x")], "x", "has a result, but the message before does not make this call"),
        (
            [calls("x"), results("x"), results("x")],
            "x",
            "has a result, but the message before does not",
        ),
        (
            [calls("x"), results("x", "y")],
            "y",
            "has a result, but the message before does not make this call",
        ),
        (
            [calls("x"), results("y")],
            "y",
            "has a result, but the message before does not make this call",
        ),
        ([calls("x"), results("x", "x")], "x", "has several results; keep one"),
        ([calls("x", "x")], "x", "is made twice in one message; give each call its own id"),
        ([HI, calls("x"), calls("y")], "x", "has no result; the next message must be Message.tool"),
    ],
)
def test_unpaired_histories(messages: list[Message], call_id: str, reason: str):
    """A call without its result, or a result without its call, is refused and named."""
    with pytest.raises(PairingError) as raised:
        check(*messages)

    assert raised.value.call_id == call_id
    assert str(raised.value).startswith(f"tool call {call_id!r} {reason}")


def test_copies_are_independent():
    """A copy has seen the same and goes on alone."""
    first = Pairing()
    first.see(calls("x"))
    second = first.copy()
    second.see(results("x"))
    second.end()

    with pytest.raises(PairingError):
        first.end()


def test_refused_message_is_not_seen():
    """After a refusal the check is where it was."""
    pairing = Pairing()
    pairing.see(calls("x"))
    with pytest.raises(PairingError):
        pairing.see(HI)

    pairing.see(results("x"))
    pairing.end()


@pytest.mark.parametrize(
    ("last", "message"), [(None, HI), (HI, HELLO), (calls("x"), results("x")), (results("x"), HI)]
)
def test_a_check_may_begin_after_any_message(last: Message | None, message: Message):
    """Only the message before counts."""
    Pairing(last).see(message)


@pytest.mark.parametrize(
    ("last", "message"), [(None, results("x")), (HI, results("x")), (calls("x"), HI)]
)
def test_a_check_that_begins_late_is_as_strict(last: Message | None, message: Message):
    """What does not follow the last message is refused."""
    with pytest.raises(PairingError):
        Pairing(last).see(message)
