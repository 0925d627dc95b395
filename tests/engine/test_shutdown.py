"""Interpreters that end in the middle of something: no hang, no noise, and a sound log."""

from pathlib import Path

import pytest

from agent.engine.sources import Sources
from agent.eventstore.core import verified
from agent.stores import SQLiteStore
from tests.engine.given import agent_of, kinds, shown
from tests.engine.programs import INTERRUPTED, KILLED, run_program
from tests.fakes import ChatServer, Stream, Text

BEGIN = """
session = agent_on(SQLiteStore(sys.argv[1]), sys.argv[2]).session("s")
session.run("a")

def read(pause=0.0):
    for event in session.stream("b"):
        began.set()
        time.sleep(pause)

async def read_async(pause=0.0):
    async for event in await session.stream_async("b"):
        began.set()
        await asyncio.sleep(pause)

async def begin():
    global stream
    stream = await session.stream_async("b")
    await anext(stream)

def beside(function, *args, daemon=True):
    threading.Thread(target=function, args=args, daemon=daemon).start()
    assert began.wait(40)
"""

OPEN, ABANDONED = ["turn.started", "model.requested"], ["model.failed", "turn.abandoned"]
CALLED = [*OPEN, "model.responded", "tool.called"]
DROPPED = [*OPEN, *ABANDONED]

STREAMS = {
    "a global": ("stream = session.stream('b'); next(stream)", DROPPED),
    "sys.exit in the loop": ("for event in session.stream('b'): sys.exit()", DROPPED),
    "a reference cycle": ("x = [session.stream('b')]; x.append(x); next(x[0]); del x", DROPPED),
    "a daemon thread": ("beside(read, 60.0)", DROPPED),
    "a thread that has ended": (
        """
held = []
def hold():
    held.append(session.stream('b')); next(held[0]); began.set()
beside(hold, daemon=False)
""",
        DROPPED,
    ),
    "closed at exit": (
        "stream = session.stream('b'); next(stream); atexit.register(stream.close)",
        DROPPED,
    ),
    "os._exit": ("stream = session.stream('b'); next(stream); os._exit(0)", OPEN),
    "async: a global": ("asyncio.run(begin())", DROPPED),
    "async: a break": (
        """
async def main():
    async for event in await session.stream_async('b'): break
asyncio.run(main())
""",
        DROPPED,
    ),
    "async: sys.exit in the loop": (
        """
async def main():
    async for event in await session.stream_async('b'): sys.exit()
asyncio.run(main())
""",
        DROPPED,
    ),
    "async: a daemon thread": ("beside(asyncio.run, read_async(60.0))", OPEN),
}


def check(path: Path, end: list[str]) -> None:
    """The log holds one turn and what ends it so, verifies, and the next turn goes on from it."""
    with SQLiteStore(path) as store:
        session = agent_of("x", store=store, sources=Sources(), on_unfinished="abandon").session(
            "s"
        )
        before = kinds(session)
        first = before.index("turn.completed") + 1
        assert before[first:] == end
        assert shown(session)[0] == "a"
        assert len(shown(session)) == 2
        assert session.run("c").text == "x"
        assert [fact.version for fact in verified(session.events(), stream="s")]
        closed = [] if end[-1] == "turn.abandoned" else ["turn.abandoned"]
        declared = ["tools.declared"]
        assert [k for k in kinds(session)[len(before) :] if k not in declared][:-4] == closed


@pytest.mark.parametrize("place", STREAMS)
def test_a_stream_that_is_half_read_at_the_end(tmp_path: Path, place: str, chat_server: ChatServer):
    """Wherever a half read stream lies when the interpreter ends, nobody hears of it."""
    chat_server.script([Text("x"), Stream(Text("one two three four five six"), delay=0.02)])
    source, end = STREAMS[place]
    ended = run_program(BEGIN + source, tmp_path / "s.db", chat_server.base_url)

    assert tuple(ended) == (0, "", "")
    check(tmp_path / "s.db", end)


TOOLS = {
    "in a thread": ("beside(session.run, 'slow')", CALLED),
    "on the loop of async tools": ("beside(session.run, 'slow_async')", CALLED),
    "in an async turn": ("beside(asyncio.run, session.run_async('slow_async'))", CALLED),
    "after Ctrl-C": (
        """
def interrupt():
    began.wait(); time.sleep(0.1); signal.pthread_kill(threading.get_ident(), signal.SIGINT)
threading.Thread(target=interrupt).start()
try: session.run('slow_async')
except KeyboardInterrupt: pass
""",
        [*CALLED, "turn.abandoned"],
    ),
}


@pytest.mark.parametrize("place", TOOLS)
def test_a_tool_that_runs_at_the_end(tmp_path: Path, place: str):
    """A tool that still runs when the interpreter ends keeps nobody waiting."""
    source, end = TOOLS[place]
    assert tuple(run_program(BEGIN + source, tmp_path / "s.db", "")) == (0, "", "")
    check(tmp_path / "s.db", end)


def test_async_tools_clean_up_at_the_end(tmp_path: Path):
    """An async tool of a sync turn is cancelled when the interpreter ends, and may clean up."""
    program = """
async def tidy() -> str:
    '''Tidy up.'''
    began.set()
    try:
        await asyncio.sleep(60)
    finally:
        print("tidy")

TOOLS["tidy"] = tidy
session = agent_on(MemoryStore()).session("s")
threading.Thread(target=session.run, args=("tidy",), daemon=True).start()
began.wait()
"""
    assert tuple(run_program(program)) == (0, "tidy", "")


def test_ctrl_c_cancels_async_tools():
    """Ctrl-C in a sync turn is noticed whichever thread gets it, and cancels its async tools."""
    program = """
tidied = threading.Event()

async def tidy() -> str:
    '''Tidy up.'''
    began.set()
    try:
        await asyncio.sleep(60)
    finally:
        tidied.set()

def interrupt():
    began.wait()
    time.sleep(0.1)
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)

TOOLS["tidy"] = tidy
session = agent_on(MemoryStore()).session("s")
threading.Thread(target=interrupt).start()
try:
    session.run("tidy")
except KeyboardInterrupt:
    print(tidied.wait(10))
"""
    assert tuple(run_program(program)) == (0, "True", "")


def test_turns_at_exit(tmp_path: Path):
    """A session works in an atexit handler, async tools included."""
    program = "atexit.register(lambda: print(session.run('b').text, session.run('quick').text))"
    ended = run_program(BEGIN + program, tmp_path / "s.db", "")

    assert tuple(ended) == (0, "one two three one two three", "")


@pytest.mark.parametrize("file", ["s.db", ":memory:"])
def test_turns_at_exit_after_the_file_was_closed(tmp_path: Path, file: str):
    """A handler registered before the store was first used, which is called last, takes turns."""
    early = "atexit.register(lambda: print(session.run('b').text, len(session.messages)))\n"
    path = file if file == ":memory:" else tmp_path / file
    ended = run_program(early + BEGIN, path, "")

    assert tuple(ended) == (0, "one two three 4", "")


@pytest.mark.parametrize(
    ("signal", "code", "end"),
    [("SIGTERM", KILLED, OPEN), ("SIGKILL", -9, OPEN), ("SIGINT", INTERRUPTED, DROPPED)],
)
def test_signals_in_a_stream(tmp_path: Path, signal: str, code: int, end: list[str]):
    """A process that a signal ends leaves a whole turn or one that the next turn closes."""
    program = f"""
stream = session.stream("b")
next(stream)
os.kill(os.getpid(), signal.{signal})
time.sleep(60)
"""
    ended = run_program(BEGIN + program, tmp_path / "s.db", "")

    assert ended.code == code
    last = ended.errors.strip().splitlines()[-1:]
    assert last == (["KeyboardInterrupt"] if signal == "SIGINT" else [])
    check(tmp_path / "s.db", end)


def test_ctrl_c_in_a_turn(tmp_path: Path):
    """Ctrl-C in a turn ends the program by it, once the turn is abandoned."""
    program = """
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
session.run("slow")
"""
    ended = run_program(BEGIN + program, tmp_path / "s.db", "")

    assert ended.code == INTERRUPTED
    assert ended.errors.strip().splitlines()[-1] == "KeyboardInterrupt"
    assert "Exception ignored" not in ended.errors
    with SQLiteStore(tmp_path / "s.db") as store:
        assert kinds(agent_of(store=store).session("s"))[-1] == "turn.abandoned"


# Ctrl-C at every call

INTERRUPTING = """
def interrupted_at(number, act):
    '''Where Ctrl-C came, at the n-th call of ours or return from C; None if there are fewer.'''
    left, where = [number], []

    def count(frame, event, _):
        if event not in ("call", "c_return") or "agent/" not in frame.f_code.co_filename:
            return
        if event == "call" and frame.f_lasti > 0:
            return  # a generator goes on: its handlers run, which this cannot show
        outer = frame
        while outer:
            if outer.f_code.co_name == "_leave":
                return  # a finalizer: Python reports what comes in one, and goes on
            outer = outer.f_back
        left[0] -= 1
        if not left[0]:
            where.append(f"{frame.f_code.co_filename}:{frame.f_lineno} {event}")
            raise KeyboardInterrupt

    sys.setprofile(count)
    try:
        act()
    except KeyboardInterrupt:
        pass
    finally:
        sys.setprofile(None)
    return where[0] if where else None

def checked(session):
    if not session.version:
        return []
    anew = agent.session(session.session_id)
    found = [[fact.type for fact in s.events()] for s in (session, anew)]
    assert found[0] == found[1], found
    assert [m.text for m in session.messages] == [m.text for m in anew.messages]
    return found[0]

ACTS = {
    "run": lambda session: session.run("b"),
    "stream": lambda session: [event for event in session.stream("b")],
    "add": lambda session: session.add_message(Message.user("b")),
    "fork": lambda session: session.fork(),
    "resume": lambda session: session.resume(),
}

def dropped(session):
    with session.stream("b") as stream:
        next(stream)
store = MemoryStore() if sys.argv[2] == "memory" else SQLiteStore(sys.argv[3], durability="os")
agent = Agent(ScriptedModel(lambda request: "one"), "m", store=store)
agent.session("w").run("a"), agent.session("w").fork()
gc.disable()
number = 0
while True:
    number += 1
    session = agent.session(f"s{number}", messages=[Message.user("x")])
    if sys.argv[1] == "resume":
        dropped(session)
    where = interrupted_at(number, lambda: ACTS[sys.argv[1]](session))
    if where is None:
        break
    try:
        checked(session)
        assert session.run("c").text == "one"
        types = checked(session)
        ends = [t for t in types if t in ("turn.completed", "turn.failed", "turn.abandoned")]
        begun = types.count("turn.started") + types.count("turn.resumed")
        assert begun == len(ends), types
        assert [m.text for m in session.messages][-2:] == ["c", "one"]
    except Exception as error:
        print(where, type(error).__name__, error)
print(number > 50)
"""


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        ("run", "memory"),
        ("stream", "memory"),
        ("resume", "memory"),
        ("add", "sqlite"),
        ("fork", "sqlite"),
    ],
)
def test_ctrl_c_at_every_call(tmp_path: Path, act: str, kind: str):
    """Ctrl-C at any call: the session is what its log is, is not taken, and goes on."""
    assert tuple(run_program(INTERRUPTING, act, kind, tmp_path / "s.db")) == (0, "True", "")
