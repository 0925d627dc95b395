from agent.eventstore.events import HistoryCleared, MessageAdded, SessionStarted, ToolsDeclared
from agent.eventstore.messages import ImagePart, Message, Opaque, TextPart, ToolResultPart
from agent.eventstore.rawjson import EMPTY_OBJECT, to_raw
from agent.eventstore.values import ToolDefinition
from agent.projections import session as projection
from agent.projections.fold import rebuild
from agent.projections.losses import Loss, of_log, of_messages, of_usage, summed
from agent.projections.session import SessionState
from tests.projections.given import STARTED, begun, recorded, requested, responded

PRIVATE = "what only its provider understands"


def test_losses_of_a_kind_are_one():
    """Counts are added, names are told once, and what is nothing is left out."""
    found = summed(
        [
            Loss("metadata", 2, ("b", "a")),
            Loss("reasoning", 0),
            Loss("text", 1),
            Loss("metadata", 1, ("a",)),
        ]
    )

    assert found == (Loss("metadata", 3, ("a", "b")), Loss("text", 1))


def test_a_loss_in_words():
    """How many, and which where they have names."""
    assert str(Loss("events", 1234)) == "events: 1,234"
    assert str(Loss("metadata", 2, ("a", "b"))) == "metadata: 2 (a, b)"


def test_what_a_conversation_lacks_of_its_log():
    """Events, those erased, tools, metadata, and messages that are not visible any more."""
    metadata = to_raw({"title": "A", "n": 1}, of="a test")
    tool = ToolDefinition("look", "Look.", EMPTY_OBJECT)
    facts = recorded(
        SessionStarted(session_id="s", system=None, metadata=metadata, library="0"),
        ToolsDeclared(tools=(tool,), digest="d"),
        MessageAdded(message=Message.user("a")),
        HistoryCleared(),
        MessageAdded(message=Message.user("b")),
    )
    state = rebuild(projection.evolve, facts, SessionState())
    facts[2] = facts[2].as_erased(b"")

    assert summed(of_log(state, facts)) == (
        Loss("events", 5),
        Loss("erased events", 1),
        Loss("tool definitions", 1, ("look",)),
        Loss("metadata", 2, ("n", "title")),
        Loss("messages that are not visible", 1),
    )


def test_usage_is_told_by_call():
    """Each model call that said what it used counts."""
    facts = recorded(STARTED, begun(), requested(), responded("a"))

    assert of_usage(facts) == Loss("usage of model calls", 1)


def test_what_people_cannot_read():
    """Bytes, and what only providers understand, also inside of results."""
    mine, other = (Opaque(name, "api", "m", EMPTY_OBJECT) for name in ("mine", "other"))
    shown = ToolResultPart("a", (ImagePart.from_bytes(b"1"), TextPart("x", mine)), opaque=other)
    said = Message.assistant(TextPart("y", mine))

    assert summed(of_messages([Message.tool(shown), said])) == (
        Loss("attachments", 1),
        Loss(PRIVATE, 3, ("mine m", "other m")),
    )
