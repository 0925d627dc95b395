"""Compaction: a summary stands for the older part of a history, or nothing has changed."""

import asyncio
import logging
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from agent import Agent, CompactionPolicy, FilePart, ImagePart, Message, Session
from agent.engine.compaction import HEADING
from agent.engine.errors import RateLimited, ServerFailed
from agent.engine.program import program
from agent.engine.provider import Answer
from agent.engine.scripted import Call, Reply, Scripted, ScriptedModel
from agent.errors import (
    AgentError,
    ConfigurationError,
    ConflictError,
    OutputError,
    OutputRefused,
    OwnerAlive,
    PairingError,
    TurnOpen,
)
from agent.eventstore.events import HistoryCompacted, ModelRequested, TurnStarted
from agent.eventstore.messages import Link, RefusalPart, TextPart, ToolCallPart, ToolResultPart
from agent.eventstore.values import Excerpt, Usage
from agent.stores import LogStore, MemoryStore
from tests.engine.gates import TappedLog, once
from tests.engine.given import add, agent_of, digests, kinds, rebuilt, shown
from tests.engine.stores import DictStore
from tests.fakes import ChatServer, Text

ADD = Call("add", {"a": 1, "b": 2})
SUM = HEADING + "sum"
DECLINED = Answer(Message.assistant(RefusalPart("No.")), "refusal")


def asked(session: Session) -> list[Message]:
    """What the model was last asked."""
    provider = session._handle.provider
    assert isinstance(provider, ScriptedModel)
    return provider.requests[-1].messages


def talked(*script: Scripted, turns: str = "ace", **options: Any) -> Session:
    """A session after some turns, answered with the next letters; the script comes after."""
    answers = [chr(ord(prompt) + 1) for prompt in turns]
    session = agent_of(*answers, *script, **options).session("s", system="Be brief.")
    for prompt in turns:
        session.run(prompt)
    return session


@pytest.mark.parametrize("is_async", [False, True])
def test_a_summary_stands_for_the_older_messages(is_async: bool):
    """The model summarizes the older messages; then come the last ones, and the next turn."""
    session = talked("sum", "h", tools=[add])
    before = session.version
    done = asyncio.run(session.compact_async(2)) if is_async else session.compact(keep_last=2)

    assert shown(session) == [SUM, "e", "f"]
    assert [m.role for m in session.messages] == ["user", "user", "assistant"]
    assert [m.text for m in asked(session)[:-1]] == ["a", "b", "c", "d"]
    assert kinds(session)[before:] == [
        "turn.started",
        "model.requested",
        "model.responded",
        "turn.completed",
        "history.compacted",
    ]
    assert (done.messages_before, done.messages_after, done.summary) == (6, 3, "sum")
    assert (done.usage.output_tokens, done.version) == (1, session.version)
    session.run("g")
    assert [m.text for m in asked(session)] == [SUM, "e", "f", "g"]


def test_what_the_log_says_of_a_compaction():
    """The request holds the excerpt that is recorded, and is rebuilt from the log."""
    session = talked("sum")
    session.compact(keep_last=2)
    events = [fact.event for fact in session.events()]
    (started,) = [e for e in events if isinstance(e, TurnStarted) and e.kind == "compaction"]
    compacted = events[-1]

    assert isinstance(compacted, HistoryCompacted)
    assert started.excerpt == Excerpt(0, 4)
    assert (compacted.through, compacted.kept) == (session.version - 5, 2)
    (*_, body) = rebuilt(session, session._handle.provider)
    assert sha256(body).hexdigest() == digests(session)[-1]


def test_what_the_model_is_told():
    """Instructions are added; system prompt and tools stay, and no tool may be called."""
    session = talked("sum", tools=[add], max_tokens=1, stop=["x"], temperature=0.5)
    session.compact(0, instructions="In French.", model="other")
    provider = session._handle.provider
    assert isinstance(provider, ScriptedModel)
    prompt, before = provider.requests[-1].prompt, provider.requests[-2].prompt

    assert asked(session)[-1].text.endswith("\n\nIn French.")
    assert (prompt.system, prompt.tools, prompt.model) == (before.system, before.tools, "other")
    settings = prompt.settings
    assert (settings.tool_choice, settings.temperature) == ("none", 0.5)
    assert (settings.max_tokens, settings.stop) == (None, None)


def test_settings_of_tools_that_are_not_there():
    """They refuse the agent's turns, but do not stand in the way of a summary."""
    provider = ScriptedModel(["sum"])
    session = Agent(provider, tool_choice="required", parallel_tool_calls=False).session(
        messages=[Message.user("a"), Message.assistant("b")]
    )
    assert session.compact(keep_last=0).summary == "sum"
    with pytest.raises(ConfigurationError, match="can do nothing without tools"):
        session.run("c")


def test_on_the_wire(openai_env: ChatServer):
    """On the wire the tools stay declared, for the calls of the history, but are forbidden."""
    with Agent("openai", "gpt-4o", tools=[add]) as agent:
        session = agent.session()
        session.run("Call add, please")
        openai_env.script([Text("sum")])
        session.compact(keep_last=0)

    body = openai_env.bodies[-1]
    assert body["tool_choice"] == "none"
    assert [tool["function"]["name"] for tool in body["tools"]] == ["add"]
    roles = [message["role"] for message in body["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant", "user"]
    assert shown(session) == [SUM]


@pytest.mark.parametrize("keep_last", [5, 6, 7, 1000])
def test_nothing_to_compact(keep_last: int):
    """With less than two messages to summarize nothing is asked and nothing recorded."""
    session = talked()
    before = session.version
    done = session.compact(keep_last)

    assert (done.summary, done.messages_before, done.messages_after) == (None, 6, 6)
    assert (session.version, done.version, done.usage) == (before, before, Usage())


def test_an_empty_session_is_not_written():
    """Compacting a session that has said nothing does not even begin it."""
    session = agent_of().session()

    assert (session.compact(0).summary, session.version) == (None, 0)


def test_a_summary_is_summarized():
    """A second compaction takes the first summary along; a summary alone stays as it is."""
    session = talked("sum", "again")
    session.compact(keep_last=2)
    assert session.compact(keep_last=2).summary is None
    session.compact(keep_last=1)

    assert [m.text for m in asked(session)[:-1]] == [SUM, "e"]
    assert shown(session) == [HEADING + "again", "f"]


@pytest.mark.parametrize(("keep_last", "kept"), [(0, 0), (1, 1), (2, 3), (3, 3), (4, 5), (5, 5)])
def test_calls_stay_with_their_results(keep_last: int, kept: int):
    """A cut that would part calls from their results keeps one message more."""
    agent = agent_of((ADD, ADD), ADD, "6", "sum", tools=[add])
    session = agent.session(messages=[Message.user("x")])
    session.run("a")
    before = session.messages
    session.compact(keep_last)

    assert session.messages[1:] == before[len(before) - kept :]
    assert [m.role for m in session.messages[1:2]] != ["tool"]


def test_a_waiting_call_is_kept():
    """A call that has no result yet stays in the history, and can still get it."""
    call = ToolCallPart("x", "add", "{}")
    session = talked("sum", "h")
    session.add_message(Message.assistant(call))
    session.compact(keep_last=0)
    with pytest.raises(PairingError, match="'x' has no result"):
        session.run("g")
    session.add_message(Message.tool(ToolResultPart("x", (TextPart("3"),))))
    session.run("g")

    assert shown(session) == [SUM, "", "3", "g", "h"]


def test_a_rewind_undoes_it():
    """The messages themselves are shown again, and the summary again."""
    session = talked("sum")
    before = session.version
    after = session.compact(keep_last=0).version
    session.rewind(before)
    assert shown(session) == list("abcdef")
    session.rewind(after)

    assert shown(session) == [SUM]


def test_it_is_counted():
    """What a summary costs counts as the session's, in a fork as inherited."""
    session = talked(Reply(text="sum", usage=Usage(100, 10)))
    before = session.usage.own
    session.compact(keep_last=0)

    assert session.usage.own == before + Usage(100, 10)
    assert session.fork().usage.inherited == session.usage.own


def test_attachments_are_named():
    """The summary's model is told of images and files, and sent none of them."""
    prompt = [
        TextPart("See"),
        ImagePart.from_bytes(b"png"),
        FilePart.from_bytes(b"pdf", "application/pdf", "a.pdf"),
        ImagePart.from_url("https://example.org/a.png"),
    ]
    session = agent_of("ok", "sum").session()
    session.run(prompt)
    session.compact(keep_last=0)

    assert asked(session)[0] == Message.user(
        "See", "[image: image/png]", "[file: a.pdf]", "[image: https://example.org/a.png]"
    )
    (*_, body) = rebuilt(session, session._handle.provider)
    assert sha256(body).hexdigest() == digests(session)[-1]


def test_attachments_that_no_model_takes(openai_env: ChatServer):
    """What keeps a provider from answering does not keep it from summarizing."""
    linked = Message.user(FilePart(Link("https://example.org/a.pdf"), "application/pdf"))
    with Agent("openai", "gpt-4o") as agent:
        session = agent.session(messages=[linked, Message.assistant("ok")])
        with pytest.raises(ConfigurationError, match="linked file"):
            session.run("a")
        session.compact(keep_last=0)

        assert "https://example.org/a.pdf" in openai_env.bodies[-1]["messages"][0]["content"]
        assert session.run("a").text


# What goes wrong


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        (ServerFailed("down"), ServerFailed, "down"),
        (ADD, OutputError, "called tools instead"),
        (Reply(text="su", finish_reason="length"), OutputError, "was cut .length."),
        (Reply(text="su", finish_reason="content_filter"), OutputError, "was cut"),
        (" \n", OutputError, "empty summary"),
    ],
)
def test_a_failed_compaction_changes_nothing(reply: Scripted, error: type[AgentError], words: str):
    """The history is as before, no tool has run, the log says why; then it can be tried again."""
    ran: list[int] = []

    def add(a: int, b: int) -> int:
        """Add two numbers."""
        ran.append(a + b)
        return a + b

    session = talked(reply, "sum", tools=[add])
    with pytest.raises(error, match=words):
        session.compact(keep_last=2)
    assert (shown(session), kinds(session)[-1], ran) == (list("abcdef"), "turn.failed", [])
    assert session._handle.state.conversation.ended is None
    session.compact(keep_last=2)

    assert shown(session) == [SUM, "e", "f"]


def test_another_cut_after_a_failure():
    """What was encoded for a summary that failed serves none of another excerpt."""
    session = talked(ServerFailed("down"), ServerFailed("down"), "h", "sum")
    for keep_last in (0, 2):
        with pytest.raises(ServerFailed):
            session.compact(keep_last)
    session.run("g")
    session.compact(keep_last=4)

    assert shown(session) == [SUM, "e", "f", "g", "h"]
    anew = [sha256(body).hexdigest() for body in rebuilt(session, session._handle.provider)]
    assert digests(session) == anew


def test_a_refused_summary():
    """A model that declines to summarize says so."""

    class Declining(ScriptedModel):
        def call(self, request: Any) -> Any:
            yield from super().call(request) if not self.requests else [DECLINED]

    session = Agent(Declining(["b"]), "m").session()
    session.run("a")
    with pytest.raises(OutputRefused, match="refused to summarize: No"):
        session.compact(keep_last=0)

    assert shown(session) == ["a", "b"]


def test_it_is_tried_again():
    """A summary is retried as any answer."""
    session = talked(RateLimited("wait", retryable=True, retry_after=0.0), "sum")
    session.compact(keep_last=0)

    assert kinds(session)[-5:-2] == ["model.failed", "model.requested", "model.responded"]
    assert shown(session) == [SUM]


@pytest.mark.parametrize("kind", ["turn.started", "history.compacted"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_interrupted(kind: str, when: str):
    """Ctrl-C at either commit leaves no change or a whole compaction."""
    log = TappedLog()
    session = talked("sum", "sum", store=LogStore(log))
    setattr(log, when, {kind: once(KeyboardInterrupt())})
    with pytest.raises(KeyboardInterrupt):
        session.compact(keep_last=2)

    assert shown(session) == ([SUM, "e", "f"] if kind == "history.compacted" else list("abcdef"))
    assert shown(agent_of(store=LogStore(log)).session("s")) == shown(session)
    assert session.compact(keep_last=1).messages_after == 2


@pytest.mark.parametrize(
    "go_on",
    [
        lambda session: session.undo(),
        lambda session: session.clear(),
        lambda session: session.rewind(1),
        lambda session: session.add_message(Message.user("x")),
        lambda session: session.compact(2),
        lambda session: session.run("g"),
    ],
    ids=["undo", "clear", "rewind", "add_message", "compact", "run"],
)
def test_cut_short_by_a_crash(go_on: Callable[[Session], Any]):
    """A compaction whose process is gone changed nothing, and stands in nobody's way."""
    session = talked(store=MemoryStore())
    left = left_open(session)
    assert shown(left) == list("abcdef")
    go_on(left)

    assert kinds(left)[13:16] == ["turn.started", "model.requested", "turn.abandoned"]
    assert left._handle.state.conversation.turn is None


def test_nothing_to_compact_after_a_crash():
    """With nothing to compact, not even what a crash has left open is touched."""
    left = left_open(talked(store=MemoryStore()))
    before = left.version
    done = left.compact(keep_last=6)

    assert (done.summary, done.version, left.version) == (None, before, before)
    assert left._handle.journal.pending == ()


def left_open(session: Session) -> Session:
    """The session as another process finds it when this one has died in a compaction."""
    steps = program(session._handle, session._order(2, None, None))
    effect = next(steps)
    while not (events := getattr(effect, "events", ())):
        effect = steps.send(session._handle.perform(effect))  # pyright: ignore[reportArgumentType]
    session._handle.log.append("s", events, expected=effect.expected)  # pyright: ignore[reportAttributeAccessIssue]
    assert session._agent.store is not None
    return agent_of("sum", store=session._agent.store).session("s")


def test_during_a_turn():
    """While a turn of the user's is open, nothing is compacted."""
    session = talked()
    fork = session.fork(at=session.version - 1)

    with pytest.raises(TurnOpen):
        fork.compact()


def test_a_stale_handle_catches_up():
    """A compaction begins, as a turn does, with what others have appended."""
    store = MemoryStore()
    session = talked("sum", store=store, turns="ac")
    agent_of("f", store=store).session("s").run("e")
    session.compact(keep_last=2)

    assert shown(session) == [SUM, "e", "f"]


def beside_a_compaction(intrude: Callable[[Session], object]) -> Session:
    """A session of one turn, and another handle on it while a compaction is under way."""
    store = MemoryStore()

    def answer(_: Any) -> Scripted:
        if len(model.requests) == 2:
            intrude(agent_of("d", store=store).session("s"))
        return "b"

    model = ScriptedModel(answer)
    session = Agent(model, "m", store=store).session("s")
    session.run("a")
    return session


def test_a_turn_beside_a_compaction():
    """A turn that begins while a compaction is under way is told so, and changes nothing."""

    def intrude(other: Session) -> None:
        with pytest.raises(OwnerAlive):
            other.run("c")

    assert beside_a_compaction(intrude).compact(keep_last=0).summary == "b"


def test_overtaken():
    """When somebody takes over during a compaction, that one stands and this one says so."""

    def intrude(other: Session) -> None:
        other.abandon(takeover=True)
        other.run("c")

    session = beside_a_compaction(intrude)
    with pytest.raises(ConflictError):
        session.compact(keep_last=0)
    session.refresh()

    assert shown(session) == list("abcd")


@pytest.mark.parametrize(
    "options",
    [
        {"keep_last": -1},
        {"keep_last": True},
        {"keep_last": "2"},
        {"instructions": 3},
        {"instructions": ""},
        {"model": ""},
    ],
)
def test_impossible_orders(options: dict[str, Any]):
    """What cannot be done is refused before anything is asked."""
    (name,) = options

    with pytest.raises(ConfigurationError, match=name):
        agent_of().session().compact(**options)


# By itself


def summing(tokens: int = 0, **options: Any) -> Session:
    """A session whose model summarizes when it is told to, and counts so many tokens a message."""

    def answer(request: Any) -> Scripted:
        if request.messages[-1].text.startswith("Summarize"):
            return Reply(text="sum", usage=Usage(1000, 1))
        return Reply(text="ok", usage=Usage(tokens * len(request.messages), 0))

    return Agent(ScriptedModel(answer), "m", **options).session("s")


def test_at_so_many_messages():
    """The history is compacted at the start of the turn that finds it so long."""
    session = summing(compact_at=CompactionPolicy(messages=6, keep_last=2))
    for prompt in "abc":
        session.run(prompt)
    assert len(session.messages) == 6
    response = session.run("d")

    assert shown(session) == [SUM, "c", "ok", "d", "ok"]
    assert kinds(session)[-9:-3] == [
        "turn.started",
        "model.requested",
        "model.responded",
        "turn.completed",
        "history.compacted",
        "turn.started",
    ]
    assert response.usage == Usage()
    session.undo()
    assert shown(session) == [SUM, "c", "ok"]


def test_at_so_many_tokens():
    """Tokens are those that the provider counted for the last request; unknown, none are."""
    policy = CompactionPolicy(tokens=500, keep_last=2, model="small", instructions="In French.")
    session = summing(100, compact_at=policy)
    for prompt in "abc":
        session.run(prompt)
    assert len(session.messages) == 6
    session.clear()
    for _ in range(6):
        session.add_message(Message.user("x"))
    session.run("d")
    assert len(session.messages) == 8
    session.run("e")

    assert len(session.messages) == 5
    (small,) = [
        fact.event
        for fact in session.events()
        if isinstance(fact.event, ModelRequested) and fact.event.model == "small"
    ]
    assert small.step == 1


def test_streams_hand_out_the_answer_alone():
    """The summary is no part of the answer that a stream hands out."""
    session = summing(compact_at=CompactionPolicy(messages=6, keep_last=2))
    for prompt in "abc":
        session.run(prompt)
    texts = [event.text for event in session.stream("d") if event.type == "text_delta"]

    assert texts == ["ok"]
    assert shown(session)[0] == SUM


def test_a_failed_one_does_not_fail_the_turn(caplog: pytest.LogCaptureFixture):
    """The turn goes on with the whole history; the log says so; the next turn tries again."""
    caplog.set_level(logging.WARNING, logger="agent")
    down = ServerFailed("down")
    script = ["b", "d", "f", down, "h", "sum", "j"]
    policy = CompactionPolicy(messages=6, keep_last=2)
    session = agent_of(*script, compact_at=policy).session("s")
    for prompt in "aceg":
        session.run(prompt)
    assert shown(session) == list("abcdefgh")
    assert "compaction.failed" in [record.getMessage() for record in caplog.records]
    session.run("i")

    assert shown(session) == [SUM, "g", "h", "i", "j"]


def test_an_orphan_does_not_disable_it():
    """A compaction that a crash has cut short keeps no later one from being made."""
    session = talked(store=MemoryStore())
    left_open(session)
    assert session._agent.store is not None
    policy = CompactionPolicy(messages=6, keep_last=2)
    left = agent_of("h", "sum", "j", store=session._agent.store, compact_at=policy).session("s")
    left.run("g")
    left.run("i")

    assert shown(left) == [SUM, "g", "h", "i", "j"]


def test_a_store_of_ones_own_is_saved():
    """Such a store gets the session after a compaction, and not when there was none."""
    store = DictStore()
    session = summing(store=store, compact_at=CompactionPolicy(messages=6, keep_last=2))
    for prompt in "abcd":
        session.run(prompt)
    session.compact()

    assert store.saves == [5, 9, 13, 18, 22]
    assert shown(agent_of(store=store).session("s")) == [SUM, "c", "ok", "d", "ok"]


def test_others_have_compacted_already():
    """A handle that is behind follows others before it compacts, and then need not."""
    store = MemoryStore()
    options = {"store": store, "compact_at": CompactionPolicy(messages=6, keep_last=2)}
    session, other = summing(**options), summing(**options)
    for prompt in "abc":
        session.run(prompt)
    other.run("d")
    session.run("e")

    assert kinds(session).count("history.compacted") == 1
    assert shown(session) == [SUM, "c", "ok", "d", "ok", "e", "ok"]
