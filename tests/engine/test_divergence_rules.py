"""The log or the rules are others than they were; and every divergence in words."""

from collections.abc import Sequence

import msgspec
import pytest

from agent import Agent, CompactionPolicy, Message, Session
from agent.engine.configurations import AsRecorded
from agent.engine.provider import Frame, MessageContext, Prompt
from agent.engine.replay import replay
from agent.engine.scripted import ScriptedModel
from agent.errors import ConfigurationError
from agent.eventstore.events import Event, ModelResponded, TurnFailed, TurnStarted
from agent.eventstore.record import Recorded, prepare, record
from agent.eventstore.values import Usage
from agent.replay import Change
from tests.engine.crashes import BAD, GOOD, Tea, cut
from tests.engine.diverging import (
    ASKED,
    UNSET,
    diverged,
    lived,
    look,
    same,
    search,
    session,
    shaped,
    today,
    told,
    types,
)
from tests.engine.given import add, agent_of

__all__ = ["session"]


# What has become of the log, and of the rules


def altered(session: Session, version: int, event: Event) -> list[Recorded]:
    """The events with another one among them, chained anew as a forger would."""
    facts = list(session.events())
    fact = facts[version - 1]
    forged = prepare(event, recorded_at=fact.recorded_at, salt=fact.salt or b"")
    rest = record([forged, *facts[version:]], stream="s", after=facts[version - 2].head)
    return [*facts[: version - 1], *rest]


@pytest.mark.parametrize("configured", [False, True])
@pytest.mark.parametrize(("version", "at"), [(3, 4), (9, 13)])
def test_an_altered_log(session: Session, version: int, at: int, configured: bool) -> None:
    """The requests that were made of it are no longer those whose digests it holds."""
    event = list(session.events())[version - 1].event
    if isinstance(event, TurnStarted):
        forged: Event = msgspec.structs.replace(event, input=Message.user("Forged"))
    else:
        assert isinstance(event, ModelResponded)
        forged = msgspec.structs.replace(event, message=Message.assistant("Forged"))
    read, provider = session._handle.log.get_blob, session._handle.provider
    configuration = today().today() if configured else AsRecorded(provider)
    facts = altered(session, version, forged)
    found = replay(facts, read, configuration, asked=provider).divergence
    assert found is not None
    assert told(found) == (at, "request", ("log",), ())


class Newer(ScriptedModel):
    """The same protocol by other rules."""

    encoder = "scripted/2"

    def encode_frame(self, prompt: Prompt) -> Frame:
        """Say more."""
        frame = super().encode_frame(prompt)
        return msgspec.structs.replace(frame, end=frame.end[:-1] + b',"more":true}')


def test_other_rules(session: Session) -> None:
    """The request says the same in other bytes; both rules are named."""
    found = diverged(session, Agent(Newer([]), "m", tools=[search]))
    change = Change("/more", UNSET, True)
    assert told(found) == (4, "encoding", ("library",), (change,))
    assert found.encoders == ("scripted/1", "scripted/2")


def test_other_rules_of_the_same_name(session: Session) -> None:
    """Somebody forgot to rename them; the log is proven by those of the session's own."""

    class Same(Newer):
        encoder = "scripted/1"

    found = diverged(session, Agent(Same([]), "m", tools=[search]))
    assert told(found) == (4, "encoding", ("library",), (Change("/more", UNSET, True),))


def test_rules_of_another_name(session: Session) -> None:
    """The name does not count where the bytes are the same."""

    class Renamed(ScriptedModel):
        encoder = "scripted/2"

    assert same(session, Agent(Renamed([]), "m", tools=[search]))


def test_a_protocol_that_is_no_json(session: Session) -> None:
    """Its requests are told apart, without places."""

    class Odd(Newer):
        def encode_frame(self, prompt: Prompt) -> Frame:
            """Speak something else."""
            return Frame(b"\xff", (), b"")

    found = diverged(session, Agent(Odd([]), "m", tools=[search]))
    assert told(found) == (4, "encoding", ("library",), ())


def test_what_today_refuses(session: Session) -> None:
    """An error instead of the first request is told as it is."""

    class Refusing(ScriptedModel):
        def encode_frame(self, prompt: Prompt) -> Frame:
            raise ValueError("not this")

    found = diverged(session, Agent(Refusing([]), "m", tools=[search]))
    assert told(found) == (4, "missing", (), ())
    assert (found.error, types(found)) == ("ValueError: not this", ("model.requested", None))


def test_what_today_refuses_after_the_end(session: Session) -> None:
    """Where the record ends before, nothing is different."""

    class Refusing(ScriptedModel):
        def encode_frame(self, prompt: Prompt) -> Frame:
            raise ValueError("not this")

    configuration = Agent(Refusing([]), "m", tools=[search]).today()
    facts, read = list(session.events())[:3], session._handle.log.get_blob
    assert replay(facts, read, configuration).divergence is None
    assert replay(list(session.fork(at=3).events()), read, configuration).divergence is None


def test_what_today_refuses_of_the_rest_of_a_turn() -> None:
    """The record of one that was taken up may end before what today would append."""

    class Refusing(ScriptedModel):
        def encode_message(self, message: Message, context: MessageContext) -> Sequence[bytes]:
            if message.text.startswith("The answer does not match"):
                raise ValueError("not this")
            return super().encode_message(message, context)

    session = agent_of(GOOD, store=cut(list(shaped(BAD, GOOD).events()), 4)).session("s")
    session.resume(schema=Tea)
    facts, read = list(session.events()), session._handle.log.get_blob
    assert [fact.type for fact in facts[3:7]] == [
        *("model.responded", "turn.resumed", "output.rejected", "model.requested")
    ]
    configuration = Agent(Refusing([]), "m").today([Tea])
    for version in range(7):
        assert replay(facts[:version], read, configuration).divergence is None
    found = replay(facts, read, configuration).divergence
    assert found is not None
    assert (found.version, found.error) == (7, "ValueError: not this")


@pytest.mark.parametrize("error", [ConfigurationError("not this"), ValueError("not this")])
def test_a_summary_that_cannot_be_asked_for(error: Exception) -> None:
    """Our errors do not keep a turn from being taken; others do."""

    class Refusing(ScriptedModel):
        def encode_frame(self, prompt: Prompt) -> Frame:
            if prompt.settings.tool_choice == "none":
                raise error
            return super().encode_frame(prompt)

    session = lived(*"abcd", prompts="1234", tools=[])
    policy = CompactionPolicy(messages=6, keep_last=2)
    agent = Agent(Refusing([]), "m", compact_at=policy)
    if isinstance(error, ConfigurationError):
        assert same(session, agent)
    else:
        found = diverged(session, agent)
        assert told(found) == (14, "missing", (), ())
        assert found.error == "ValueError: not this"


def test_what_another_provider_refuses() -> None:
    """A setting that it does not have, for one."""
    session = lived("Hi", tools=[], seed=7)
    found = diverged(session, Agent("anthropic", "m", api_key="sk", seed=7))
    assert told(found) == (3, "missing", ("provider",), ())
    assert found.error is not None
    assert found.error.startswith("ConfigurationError: ")


def test_what_today_refuses_in_the_middle() -> None:
    """The turn would have failed."""

    class Refusing(ScriptedModel):
        def encode_frame(self, prompt: Prompt) -> Frame:
            if prompt.settings.tool_choice is None:
                raise ValueError("not this")
            return super().encode_frame(prompt)

    session = lived(ASKED, "Here", tool_choice="required")
    found = diverged(session, Agent(Refusing([]), "m", tools=[search], tool_choice="required"))
    assert told(found) == (8, "missing", (), ())
    assert isinstance(found.today, TurnFailed)
    assert found.today.error.message == "not this"


# In words


def test_a_request_in_words(session: Session) -> None:
    """What is another, why, and where."""
    assert str(diverged(session, system="You are kind.")) == (
        "version 4: another request (cause: system prompt)\n"
        "  model.requested\n"
        '  /prompt/system: "You are brief." -> "You are kind."'
    )


def test_rules_in_words(session: Session) -> None:
    """Those of then and those of today."""
    assert str(diverged(session, Agent(Newer([]), "m", tools=[search]))) == (
        "version 4: the same request in other bytes (cause: library)\n"
        "  model.requested\n"
        "  encoders: scripted/1 then, scripted/2 today\n"
        "  /more: nothing -> true"
    )


def test_limits_in_words() -> None:
    """With the words of the error that would end the turn."""
    assert str(diverged(lived(ASKED, "Here"), today(max_steps=1))) == (
        "version 8: missing today (cause: limits)\n"
        "  recorded: model.requested\n"
        "  today:    turn.failed: LimitExceeded: the model has not finished after 1 steps; raise "
        "max_steps to allow more"
    )


def test_calls_in_words() -> None:
    """By their names and tools."""
    assert str(diverged(lived(ASKED, "Here"), today(requires_approval=True))) == (
        "version 6: only today (cause: approval policy)\n"
        "  recorded: tool.called of call_5_0, search\n"
        "  today:    approval.requested of call_5_0"
    )


def test_a_compaction_in_words() -> None:
    """It is told from other turns."""
    session = lived(*"abcd", prompts="1234", tools=[])
    agent = agent_of(compact_at=CompactionPolicy(messages=6, keep_last=2))
    assert str(diverged(session, agent)) == (
        "version 14: only today (cause: compaction policy)\n"
        "  recorded: turn.started\n"
        "  today:    turn.started of a compaction"
    )


def test_an_error_in_words(session: Session) -> None:
    """In those of the error."""

    class Refusing(ScriptedModel):
        def encode_frame(self, prompt: Prompt) -> Frame:
            raise ValueError("not this")

    assert str(diverged(session, Agent(Refusing([]), "m", tools=[search]))) == (
        "version 4: missing today\n"
        "  recorded: model.requested\n"
        "  today:    nothing\n"
        "  error:    ValueError: not this"
    )


def test_an_altered_log_in_words(session: Session) -> None:
    """Without places, for the words of then are gone."""
    facts = altered(
        session,
        9,
        ModelResponded(
            message=Message.assistant("Forged"), finish_reason="stop", usage=Usage(), elapsed=0.0
        ),
    )
    read, provider = session._handle.log.get_blob, session._handle.provider
    assert str(replay(facts, read, AsRecorded(provider)).divergence) == (
        "version 13: another request (cause: log)\n"
        "  model.requested\n"
        "  its recorded digest is not that of the recorded words: an event before it was altered"
    )


def test_many_places_in_words() -> None:
    """The first ten, and how many more."""
    some = lived("Hi", tools=[search, look, add])
    lines = str(diverged(some, today(tools=[add, search, look]))).splitlines()
    assert lines[:3] == [
        "version 2: another schema (cause: tool definition)",
        "  tools.declared",
        '  /tools/0/name: "search" -> "add"',
    ]
    assert (len(lines), lines[-1]) == (13, "  and 9 more")
