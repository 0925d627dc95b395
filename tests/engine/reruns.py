"""A recorded session to take turns of again: its events, and the tools that it once had.

1 session.started       8 turn.started "Weather?"    15 model.requested
2 system.changed        9 model.requested            16 model.responded: Bern?
3 tools.declared       10 model.responded: Oslo?     17 tool.called
4 turn.started "Hello"    Rome?                      18 tool.returned "rain"
5 model.requested      11 tool.called, Oslo          19 model.requested
6 model.responded "Hi" 12 tool.called, Rome          20 model.responded "Mixed."
7 turn.completed       13 tool.returned "sun"        21 turn.completed
                       14 tool.returned "fog"
"""

from agent import Message, Session
from agent.engine.past_requests import PastRequest
from agent.engine.rerun import Rerun
from agent.engine.scripted import Call, Scripted
from agent.engine.tools import Tool, ToolContext
from agent.eventstore.events import SystemChanged, ToolResolved
from agent.eventstore.messages import TextPart, ToolCallPart, ToolResultPart
from agent.eventstore.record import Recorded
from agent.stores import MemoryStore, SessionStore
from tests.engine.crashes import cut
from tests.engine.given import Stage, agent_of, answered, kinds, outcome

OSLO, ROME, BERN, NICE = (
    Call("weather", {"city": name}) for name in ("Oslo", "Rome", "Bern", "Nice")
)
SAME: tuple[Scripted, ...] = ([OSLO, ROME], BERN, "Mixed.")
"""What the model said in the second turn."""

AGAIN = [
    *("session.forked", "turn.started", "model.requested", "model.responded"),
    *("tool.resolved", "tool.resolved", "model.requested", "model.responded"),
    *("tool.resolved", "model.requested", "model.responded", "turn.completed"),
]
"""What the fork has of its own when the second turn is taken again from its start."""


class Town:
    """Tools that know the weather, and remember whom they have told it, and under which key."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.keys: list[str] = []

    def weather(self, city: str, context: ToolContext) -> str:
        """Tell the weather of a city."""
        self.asked.append(city)
        self.keys.append(context.idempotency_key)
        return f"snow in {city}"

    @property
    def tools(self) -> list[Tool[..., object]]:
        """The tools of the record."""
        return [Tool(self.weather)]


def recorded() -> list[Recorded]:
    """The events of the session."""
    stage = Stage(SystemChanged(system="Be brief."), tools=Town().tools)
    stage.play(answered("Hi"), prompt="Hello")
    stage.play(
        answered(calls=[OSLO, ROME]),
        None,
        [outcome("call_10_0", "sun")],
        [outcome("call_10_1", "fog")],
        answered(calls=[BERN]),
        None,
        [outcome("call_16_0", "rain")],
        answered("Mixed."),
        prompt="Weather?",
    )
    return stage.facts


def known(
    *script: Scripted,
    until: int = 21,
    town: Town | None = None,
    store: SessionStore | None = None,
    **options: object,
) -> Session:
    """The session in a store, with an agent that goes on with a script."""
    tools = (town or Town()).tools
    kept = store or cut(recorded(), until)
    given = {"tools": tools, **options}
    return agent_of(*script, store=kept, **given).session("s")


def own(rerun: Rerun, at: int | None = None) -> list[str]:
    """The types of what a fork has of its own."""
    return kinds(rerun.session)[rerun.plan.at if at is None else at :]


def asked(rerun: Rerun) -> list[PastRequest]:
    """The requests that a fork has made itself, each proven."""
    facts = list(rerun.session.events())[rerun.plan.at :]
    versions = [fact.version for fact in facts if fact.type == "model.requested"]
    made = [rerun.session.request_at(version) for version in versions]
    assert all(one.proven for one in made)
    return made


def told(rerun: Rerun) -> list[tuple[str, str, bool]]:
    """What was served: the call, the text, and whether it is an error."""
    events = [fact.event for fact in rerun.session.events()][rerun.plan.at :]
    return [
        (one.call_id, "".join(getattr(part, "text", "?") for part in one.content), one.is_error)
        for one in events
        if isinstance(one, ToolResolved) and one.how != "retry"
    ]


def untouched(session: Session, facts: list[Recorded]) -> None:
    """The original holds what it held."""
    assert [fact.hash for fact in session.events()] == [fact.hash for fact in facts]
    session.refresh()
    assert session.version == len(facts)


def listed(session: Session) -> list[str]:
    """The sessions that are kept beside one."""
    store = session._agent.store
    assert store is not None
    return store.list_sessions()


def later(*script: Scripted, town: Town | None = None) -> Session:
    """The session with a third turn, which begins at version 22."""
    session = known("Bye", *script, town=town)
    session.run("Thanks")
    return session


def by_hand() -> Session:
    """A session that begins with messages by hand: 1 started, 2-5 added, 6 turn.started."""
    call = ToolCallPart("c1", "weather", "{}")
    agent = agent_of("Bye", "Bye", store=MemoryStore())
    session = agent.session(
        "s",
        messages=[
            Message.user("Weather?"),
            Message.assistant(call),
            Message.tool(ToolResultPart("c1", (TextPart("sun"),))),
            Message.assistant("Fine."),
        ],
    )
    session.run("Thanks")
    return session
