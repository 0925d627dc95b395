"""Sessions that have lived through everything that can happen to one, each with its agent."""

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from agent import Agent, CompactionPolicy, Message, Session, tool
from agent.engine.errors import BadRequest, LimitExceeded, ServerFailed
from agent.engine.scripted import Call, Reply
from agent.eventstore.errors import AgentError, InvalidEvent
from agent.eventstore.messages import ImagePart, TextPart
from agent.stores import MemoryStore
from tests.engine.crashes import BAD, GOOD, Tea, World, asks, cut, opened, recorded
from tests.engine.given import Clock, add, agent_of, fail, fixed_sources

DOWN = ServerFailed("down", retryable=True, retry_after=0.0)


class Life(NamedTuple):
    """A session and the agent that was its last."""

    session: Session
    agent: Agent


@tool
async def later(a: int) -> int:
    """Take its time."""
    return a


def turns() -> Life:
    """Turns, messages by hand, a system prompt that changes, settings of a turn's own."""
    store = MemoryStore()
    agent = agent_of("One", "Two", "Three", temperature=0.5, store=store)
    before = [Message.user("Before")]
    session = agent.session("s", system="Be brief.", messages=before, metadata={"n": 1})
    session.run("1")
    session.add_message(Message.assistant("By hand"))
    session = agent.session("s", system="Be kind.", metadata={"n": 2})
    session.run("2", temperature=0.1, model="other")
    session.stream("3").finish()
    return Life(session, agent)


def tools() -> Life:
    """Parallel calls, a failing tool, a tool that there is not, wrong arguments."""
    sums = [Call("add", {"a": 1, "b": 2}), Call("add", {"a": 3, "b": 4}), Call("later", {"a": 1})]
    odd = [Call("fail", {"reason": "x"}), Call("nothing"), Call("add", "{")]
    agent = agent_of(sums, odd, "Done", "More", tools=[add, fail, later])
    session = agent.session("s")
    session.run("Go", tool_choice="required")
    session.run("On")
    return Life(session, agent)


def retries() -> Life:
    """An attempt that is made again, one that breaks off half way, and a turn that fails."""
    broken = Reply(text="half way", error=DOWN)
    refused = BadRequest("no", provider="scripted", status=400)
    agent = agent_of(DOWN, "One", broken, refused, "Two")
    session = agent.session("s")
    session.run("1")
    with suppress(ServerFailed):
        session.stream("2").finish()
    with suppress(BadRequest):
        session.run("3")
    session.run("4")
    return Life(session, agent)


def shapes() -> Life:
    """Structured output: accepted, rejected and asked again, never fitting, refused."""
    cut_off = Reply(text='{"na', finish_reason="length")
    agent = agent_of(GOOD, BAD, GOOD, BAD, BAD, cut_off, "Plain", max_output_retries=1)
    session = agent.session("s")
    for _ in range(4):
        with suppress(AgentError):
            session.json("A tea", schema=Tea)
    session.run("Plain")
    return Life(session, agent)


def attachments() -> Life:
    """Images that are asked about, and shown by a tool."""

    def look() -> ImagePart:
        """Look."""
        return ImagePart.from_bytes(b"\x89PNG1")

    agent = agent_of(Call("look"), "Seen", "Again", tools=[look])
    session = agent.session("s")
    session.run([TextPart("What is it?"), ImagePart.from_bytes(b"\x89PNG2")])
    session.run("And now?")
    return Life(session, agent)


def rewritten() -> Life:
    """A history that is compacted by order, rewound, undone and cleared."""
    agent = agent_of(*"abc", "A summary", *"defg")
    session = agent.session("s")
    for prompt in "123":
        session.run(prompt)
    session.compact(keep_last=2, instructions="In one line.")
    session.run("4")
    session.undo()
    session.run("5")
    session.rewind(session.version - 4)
    session.run("6")
    session.clear()
    session.run("7")
    return Life(session, agent)


def compacting() -> Life:
    """A policy compacts the history when it is long; the first time its model fails."""
    refused = BadRequest("no", provider="scripted", status=400)
    policy = CompactionPolicy(messages=6, keep_last=2)
    agent = agent_of(*"abc", refused, "A summary", *"defg", compact_at=policy, max_retries=0)
    session = agent.session("s")
    for prompt in "1234567":
        with suppress(AgentError):
            session.run(prompt)
    return Life(session, agent)


def windowed() -> Life:
    """Requests hold only the last messages."""
    agent = agent_of(*"abcd", window=2)
    session = agent.session("s")
    for prompt in "1234":
        session.run(prompt)
    return Life(session, agent)


def forked() -> Life:
    """A fork of a settled session, that goes on otherwise."""
    agent = agent_of(*"abcd")
    root = agent.session("root")
    root.run("1")
    root.run("2")
    fork = root.fork("s", at=root.version - 4)
    fork.run("3")
    return Life(fork, agent)


def forked_within() -> Life:
    """A fork in the middle of a turn, whose tool is not run again."""
    world = World()
    agent = world.agent([asks("look"), "Done", "Again", "More"])
    root = agent.session("root")
    root.run("Look")
    at = [fact.type for fact in root.events()].index("tool.returned") + 1
    fork = root.fork("s", at=at)
    fork.resume()
    fork.run("On")
    return Life(fork, agent)


def imported() -> Life:
    """An export under another id, which goes on."""
    agent = agent_of("One", "Two", "Three")
    first = agent.session("first")
    first.run("1")
    session = Session.from_dict(first.to_dict(), agent, session_id="s")
    session.run("2")
    return Life(session, agent)


def approvals() -> Life:
    """A call that a person grants, one that is rejected, and one that is asked anew in a fork."""
    world = World()
    agent = world.agent([asks("sign", "look"), "Signed", asks("sign"), "Sad", asks("sign"), "End"])
    session = agent.session("root")
    for decide in (session.approve, session.reject):
        session.run("Sign")
        decide(session.pending_approvals[0].call_id)
        session.resume()
    session.run("Again")
    fork = session.fork("s", at=session.version)
    fork.resume()
    fork.approve(fork.pending_approvals[0].call_id)
    fork.resume()
    return Life(fork, agent)


def crashed() -> Life:
    """Processes that died around a tool; others resumed, retried, and gave results by hand."""
    world = World()
    facts = recorded(world.agent([asks("pay", "look"), "x"]).session("s"), "Pay")
    types = [fact.type for fact in facts]
    session = opened(cut(facts, types.index("tool.called") + 2), world)
    (call,) = [c for c in session.unfinished_turn.calls if c.tool == "pay"]  # pyright: ignore[reportOptionalMemberAccess]
    session.resolve(call.call_id, retry=True)
    session.resume()
    return Life(session, session._agent)


def resolved() -> Life:
    """Results that were given by hand for calls of unknown outcome."""
    world = World()
    facts = recorded(world.agent([asks("pay", "pay"), "x"]).session("s"), "Pay")
    types = [fact.type for fact in facts]
    session = opened(cut(facts, types.index("tool.called") + 2), world)
    one, other = [c.call_id for c in session.unfinished_turn.calls]  # pyright: ignore[reportOptionalMemberAccess]
    session.resolve(one, result="paid by hand")
    session.resolve(other, failed="never paid")
    session.resume()
    session.run("On")
    return Life(session, session._agent)


def crashed_asking() -> Life:
    """A process that died while the model was answering; another asked again, a third gave up."""
    facts = recorded(World().agent(["One"]).session("s"), "1")
    session = opened(cut(facts, 4))
    session.resume()
    facts = recorded(session, "2")
    session = opened(cut(facts, len(facts) - 2))
    session.abandon()
    session.run("3")
    return Life(session, session._agent)


def dropped() -> Life:
    """Streams that were left half read, before and after a tool ran."""
    agent = agent_of(
        "One two three", Call("add", {"a": 1, "b": 2}), "Four five", "Six", tools=[add]
    )
    session = agent.session("s")
    with session.stream("1") as stream:
        next(iter(stream))
    with session.stream("2") as stream:
        for event in stream:
            if event.type == "tool_result":
                break
    session.run("3")
    return Life(session, agent)


def cancelled() -> Life:
    """A tool cancels its turn."""

    def stop() -> str:
        """Stop."""
        session.cancel()
        return "stopped"

    agent = agent_of(Call("stop"), "One", tools=[stop])
    session = agent.session("s")
    with suppress(AgentError):
        session.run("1")
    session.run("2")
    return Life(session, agent)


def limited() -> Life:
    """A turn with too many steps, and one with too many tokens."""
    call = Call("add", {"a": 1, "b": 2})
    agent = agent_of(call, call, "x", "Fine", tools=[add], max_steps=1, max_tokens_per_turn=1)
    session = agent.session("s")
    with suppress(AgentError):
        session.run("1")
    with suppress(AgentError):
        session.run("2")
    session.run("3")
    return Life(session, agent)


def broken() -> Life:
    """A provider fails by what is no error of ours, or answers what no log can hold."""
    agent = agent_of(ValueError("mine"), "\ud800", "Three")
    session = agent.session("s")
    for prompt in "123":
        with suppress(ValueError, InvalidEvent):
            session.run(prompt)
    return Life(session, agent)


def late() -> Life:
    """A tool takes longer than its turn may, which goes on all the same."""
    clock = Clock()

    def wait(seconds: float) -> str:
        """Wait."""
        clock.seconds += seconds
        return "waited"

    script = [Call("wait", {"seconds": 9}), Call("wait", {"seconds": 1}), "Two", "Three"]
    agent = agent_of(*script, tools=[wait], sources=fixed_sources(clock), deadline=5)
    session = agent.session("s")
    with suppress(LimitExceeded):
        session.run("1")
    session.resolve("call_5_0", result="waited")
    session.resume()
    session.run("3")
    return Life(session, agent)


def paused() -> Life:
    """An answer that pauses and is asked to go on."""
    agent = agent_of(Reply(text="One", finish_reason="paused"), "Two", "Three")
    session = agent.session("s")
    session.run("1")
    session.run("2")
    return Life(session, agent)


LIVES: tuple[Callable[[], Life], ...] = (
    *(turns, tools, retries, shapes, attachments, rewritten, compacting, windowed, forked),
    *(forked_within, imported, approvals, crashed, resolved, crashed_asking, dropped, cancelled),
    *(limited, broken, late, paused),
)
