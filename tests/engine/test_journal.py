from agent.engine.effects import Append, Emit
from agent.engine.journal import Journal
from agent.engine.provider import TextDelta
from agent.eventstore.events import Event, SystemChanged
from agent.eventstore.record import Head
from agent.projections.session import SessionState
from tests.engine.given import STARTED, fixed_sources
from tests.projections.given import added

HELLO = TextDelta("Hello")


def journal(*events: Event) -> Journal:
    """A journal whose log holds these events."""
    made = Journal("s", SessionState(), fixed_sources())
    for event in events:
        made.record(event)
    settle(made)
    return made


def settle(journal: Journal) -> list[str]:
    """Commit as a log would; returns the types and announcements in their order."""
    done: list[str] = []
    for effect in journal.commit():
        match effect:
            case Append(events):
                journal.settle(effect)
                done += [fact.type for fact in events]
            case Emit(event):
                done.append(event.type)
            case _:
                raise AssertionError(effect)
    return done


def seen(state: SessionState) -> list[str]:
    """The visible texts of a state."""
    return [message.text for message in state.conversation.messages]


def test_recorded_events_are_folded_as_if():
    """What is recorded shows in the as-if state, and not in the committed one."""
    made = journal(STARTED)
    fact = made.record(added("a"))

    assert (seen(made.state), seen(made.committed), seen(made.shown)) == (["a"], [], [])
    assert (made.state.head, made.committed.version) == (Head(2, fact.hash), 1)
    assert made.pending == (fact,)


def test_committed_when_the_log_has_acknowledged():
    """The committed state is taken over when an append is acknowledged, not before."""
    made = journal(STARTED)
    made.record(added("a"))
    commit = made.commit()
    append = next(commit)
    assert isinstance(append, Append)
    assert made.committed.version == 1
    made.settle(append)

    assert (made.committed, made.pending) == (append.state, ())
    assert made.committed.version == 2


def test_announcements_follow_their_commit():
    """What is announced goes out after the append, once, in order."""
    made = journal(STARTED)
    for text in "ab":
        made.record(added(text))
        made.announce(HELLO)

    assert settle(made) == ["message.added", "message.added", "text_delta", "text_delta"]
    assert settle(made) == []


def test_nothing_to_commit():
    """A commit with nothing recorded asks for nothing."""
    assert list(journal(STARTED).commit()) == []


def test_forgotten_events():
    """What is not durable can be dropped, announcements included."""
    made = journal(STARTED)
    made.record(added("a"))
    made.announce(HELLO)
    made.forget()

    assert (made.pending, made.state, settle(made)) == ((), made.committed, [])
    made.record(added("b"))
    assert seen(made.state) == ["b"]


def test_opening_survives():
    """What opens the stream is shown before it is durable, and survives forgetting."""
    made = Journal("s", SessionState(), fixed_sources())
    opening = (made.record(STARTED), made.record(added("a")))
    made.keep()
    made.record(added("b"))
    assert (seen(made.shown), seen(made.state)) == (["a"], ["a", "b"])
    made.forget()

    assert (made.opening, made.pending) == (opening, opening)
    assert made.state == made.shown
    assert (made.shown.version, made.committed.version) == (2, 0)


def test_opening_ends_with_its_commit():
    """Once durable, the opening is like everything else."""
    made = Journal("s", SessionState(), fixed_sources())
    made.record(STARTED)
    made.keep()
    made.record(added("a"))

    assert settle(made) == ["session.started", "message.added"]
    assert (made.opening, made.shown) == ((), made.committed)
    assert seen(made.shown) == ["a"]


def test_opening_of_an_existing_stream():
    """A configuration that is wanted shows at once and is recorded with the next events."""
    made = journal(STARTED)
    made.record(SystemChanged(system="Be kind."))
    made.keep()
    assert made.shown.conversation.system == "Be kind."
    assert made.committed.conversation.system is None
    made.record(added("a"))

    assert settle(made) == ["system.changed", "message.added"]


def test_forgetting_leaves_the_committed_list_alone():
    """Events recorded, forgotten and recorded anew never mix with each other."""
    made = journal(STARTED, added("a"))
    for text in "bcd":
        made.record(added(text))
        made.forget()
    made.record(added("e"))

    assert (seen(made.committed), seen(made.state)) == (["a"], ["a", "e"])
