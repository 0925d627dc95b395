"""Forked children, other processes, and what can be sent to them."""

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from agent import Agent, Message, Session
from agent.engine.errors import ConfigurationError, ServerFailed
from agent.engine.scripted import ScriptedModel
from agent.errors import AgentError
from agent.stores import MemoryStore, SQLiteStore
from tests.engine.given import TURN, agent_of, kinds, shown
from tests.engine.programs import printed
from tests.fakes import ChatServer, Stream, Text

FINISH = "is open: resume() or abandon() it first, or read its stream to the end"

# What a child may do with what it inherits

STORES = {"memory": "MemoryStore()", "sqlite": "SQLiteStore(sys.argv[1])"}


@pytest.mark.parametrize("kind", STORES)
def test_a_child_of_a_process_that_streams(tmp_path: Path, kind: str):
    """In a child the parent's turn is open, its stream is refused, all else works as anew."""
    program = f"""
store = {STORES[kind]}
agent = agent_on(store)
session = agent.session("s")
session.run("a")
stream = session.stream("b")
next(stream)

def child():
    add = lambda: session.add_message(Message.user("x"))
    for act in (lambda: next(stream), stream.finish, add, lambda: session.run("c")):
        try:
            act()
        except Exception as error:
            words = "of the parent" if str(os.getppid()) in str(error) else error
            print(type(error).__name__, words)
    stream.close()
    session.abandon(takeover=True)
    print(len(session.messages), session.run("c").text, session.fork().run("quick").text)
    text = asyncio.run(session.run_async("d")).text
    print(text, len(session.messages), len(store.list_sessions()))
    sys.stdout.flush()

print(in_child(child))
try:
    print(stream.finish().text)
except Exception as error:
    print(type(error).__name__)
"""
    refused = "StreamAbandoned this stream of session 's' goes on in the process that began it; "
    assert printed(program, tmp_path / "s.db").splitlines() == [
        *[refused + "take a turn of your own here"] * 2,
        "TurnOpen the turn of session 's', version 7, " + FINISH,
        "OwnerAlive of the parent",
        "2 one two three one two three",
        "one two three 6 2",
        "0",
        "one two three" if kind == "memory" else "ConflictError",
    ]


def test_a_child_leaves_its_parents_connection_alone(chat_server: ChatServer):
    """A child takes nothing off the connection on which its parent's answer arrives."""
    chat_server.script([Stream(Text("one two three four five six"), delay=0.03)])
    program = """
session = agent_on(MemoryStore(), sys.argv[1]).session("s")
stream = session.stream("a")
next(stream)

def child():
    try:
        for _ in stream:
            pass
    except Exception as error:
        print(type(error).__name__, flush=True)
    session.abandon(takeover=True)
    print(session.run("b").text != "", flush=True)

print(in_child(child), stream.finish().text)
"""
    assert printed(program, chat_server.base_url).splitlines() == [
        "StreamAbandoned",
        "True",
        "0 one two three four five six",
    ]


HELD = {
    "log in memory": ("log._lock", "log.head('s')"),
    "scripted model": ("agent.provider._lock", "session.run('b')"),
    "loading": ("session._handle._loading", "session.messages"),
    "loop of async tools": ("tool_loop._current._lock", "session.run('quick')"),
    "session": ("session._handle.exclusive()", "session.run('b')"),
    "sqlite's reader": ("store.log._reader._lock", "session.run('b')"),
    "sqlite's writer": ("store.log._writer.shared._lock", "session.run('b')"),
}


@pytest.mark.parametrize("held", HELD)
def test_a_lock_that_another_thread_holds_at_a_fork(tmp_path: Path, held: str):
    """A child can do what another thread of its parent was just doing."""
    lock, act = HELD[held]
    program = f"""
from agent.engine import tool_loop

store = {STORES["sqlite" if "sqlite" in held else "memory"]}
agent, log = agent_on(store), store.log
agent.session("s").run("a")
session = agent.session("s")
if {held!r} == "session":
    session.run("b")
holding, forked = threading.Event(), threading.Event()

def hold():
    with {lock}:
        holding.set()
        forked.wait()

thread = threading.Thread(target=hold)
thread.start()
holding.wait()

status = in_child(lambda: {act})
forked.set()
thread.join()
print(status)
"""
    assert printed(program, tmp_path / "s.db") == "0"


def test_no_lock_of_the_standard_library_is_inherited_held():
    """What is computed once takes no lock that a child could inherit held."""
    program = """
from agent.eventstore.lazy import cached_property

computing, forked = threading.Event(), threading.Event()

class Thing:
    @cached_property
    def value(self):
        if threading.current_thread() is not threading.main_thread():
            computing.set()
            forked.wait()
        return 1

thread = threading.Thread(target=lambda: Thing().value)
thread.start()
computing.wait()
status = in_child(lambda: print(Thing().value, flush=True))
forked.set()
thread.join()
print(status)
"""
    assert printed(program).split() == ["1", "0"]


def test_a_fork_waits_for_sqlite(tmp_path: Path):
    """A fork waits for a thread that is inside of SQLite, whose own locks no child can renew."""
    program = """
store = SQLiteStore(sys.argv[1])
store.list_sessions()
inside, left = threading.Event(), []

def hold():
    with store.log._reader.exclusive():
        inside.set()
        time.sleep(0.2)
        left.append(True)

thread = threading.Thread(target=hold)
thread.start()
inside.wait()
print(in_child(lambda: print(left, flush=True)))
thread.join()
"""
    assert printed(program, tmp_path / "s.db").splitlines() == ["[True]", "0"]


@pytest.mark.parametrize("kind", STORES)
def test_children_of_a_process_whose_threads_are_busy(tmp_path: Path, kind: str):
    """However busy the other threads are at a fork, a child can use every session of its parent."""
    program = f"""
store = {STORES[kind].replace(")", ", durability='os')") if kind == "sqlite" else STORES[kind]}
agent = agent_on(store)
agent.session("warm").run("quick")  # imports what is needed: Python's import locks are inherited
sessions = [agent.session(f"s{{n}}") for n in range(3)]
done = False

def work(session):
    while not done:
        try:
            session.run("quick")
            agent.session(session.session_id).fork()
            session.clear()
        except Exception as error:
            assert type(error).__name__ in ("ConflictError", "TurnOpen", "OwnerAlive"), error

threads = [threading.Thread(target=work, args=(session,)) for session in sessions]
for thread in threads:
    thread.start()

def child():
    for session in sessions:
        session.messages
        while True:
            try:
                session.abandon(takeover=True)
                assert session.run("a").text == "one two three"
                break
            except Exception as error:
                assert type(error).__name__ in ("ConflictError", "OwnerAlive"), error
        assert len(agent.session().run("quick").messages) == 4
    store.list_sessions(), list(store.log.read_all())

statuses = [in_child(child) for _ in range(6)]
done = True
for thread in threads:
    thread.join()
print(statuses)
"""
    assert printed(program, tmp_path / "s.db") == "[0, 0, 0, 0, 0, 0]"


def test_a_fork_inside_of_a_tool():
    """A tool may fork: the child has its own copy, the parent's turn goes on."""
    program = """
def child():
    session.abandon(takeover=True)
    print(session.run("x").text, flush=True)

def forking() -> str:
    '''Fork.'''
    return f"status {in_child(child)}"

TOOLS["forking"] = forking
session = agent_on(MemoryStore()).session("s")
print(session.run("forking").text, [m.text for m in session.messages])
"""
    assert printed(program).splitlines() == [
        "one two three",
        "one two three ['forking', '', 'status 0', 'one two three']",
    ]


# Processes of the standard library


def take_turn(path: str, session_id: str, text: str) -> str:
    """A turn in whichever process this is."""
    with SQLiteStore(path) as store:
        return agent_of(f"re: {text}", store=store).session(session_id).run(text).text


def fail(path: str) -> None:
    """Fail in whichever process this is."""
    with SQLiteStore(path) as store:
        store.log.append("s", [], expected=None)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_the_standard_library(tmp_path: Path, method: str):
    """Worker processes, however they are started, take turns on one file and send their errors."""
    path = str(tmp_path / "s.db")
    take_turn(path, "s", "first")
    with ProcessPoolExecutor(2, get_context(method)) as pool:
        answers = list(pool.map(take_turn, [path] * 3, "abc", ["x", "y", "z"]))
        failed = pool.submit(fail, path).exception(60)

    assert answers == ["re: x", "re: y", "re: z"]
    assert (type(failed).__name__, str(failed)) == ("InvalidAppend", "nothing to append")
    with SQLiteStore(path) as store:
        sessions = [agent_of(store=store).session(name) for name in store.list_sessions()]
        assert [shown(s) for s in sessions] == [
            *[[text, f"re: {text}"] for text in "xyz"],
            ["first", "re: first"],
        ]


# What can be sent


def things() -> dict[str, Any]:
    """What belongs to one process."""
    agent = agent_of("a")
    session = agent.session("s")
    return {
        "Agent": agent,
        "Session": session,
        "Stream": session.stream("x"),
        "MemoryStore": MemoryStore(),
        "SQLiteStore": SQLiteStore("unused.db"),
    }


@pytest.mark.parametrize("send", [pickle.dumps, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("name", things())
def test_what_belongs_to_a_process_is_not_pickled(name: str, send: Callable[[Any], object]):
    """Pickling or copying an agent, a session, a stream or a store says what to do instead."""
    with pytest.raises(ConfigurationError, match=f"^{name} objects cannot be pickled or copied: "):
        send(things()[name])


def test_what_a_session_gives_is_pickled():
    """Responses, messages, events, usage and earlier states can be sent to other processes."""
    session = agent_of("b").session("s")
    response = session.run("a")
    for thing in (response, session.messages, list(session.events()), session.usage):
        assert pickle.loads(pickle.dumps(thing)) == thing
    assert pickle.loads(pickle.dumps(session.at(5))).messages == session.messages


def all_errors(cls: type[AgentError] = AgentError) -> list[type[AgentError]]:
    """Every class of the tree."""
    return [cls, *(found for sub in cls.__subclasses__() for found in all_errors(sub))]


@pytest.mark.parametrize("cls", all_errors(), ids=lambda cls: cls.__name__)
def test_errors_are_pickled_whole(cls: type[AgentError]):
    """An error arrives in another process with its words and attributes, whatever its class."""
    error = cls.__new__(cls)
    error.args = ("words",)
    error.completed_calls = ("call_1_0",)
    error.add_note("a note")
    for sent in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert (type(sent), str(sent), vars(sent)) == (cls, "words", vars(error))


def test_an_error_is_pickled_with_its_attributes():
    """What a constructor takes by name only is not lost on the way."""
    error = pickle.loads(pickle.dumps(ServerFailed("down", provider="p", status=503)))
    assert (str(error), error.provider, error.status) == ("down", "p", 503)


def test_a_stream_is_begun_by_the_process_that_reads_it():
    """A stream that nobody has read before the fork is the child's to begin."""
    program = """
session = agent_on(MemoryStore()).session("s")
stream = session.stream("a")
print(in_child(lambda: print(stream.finish().text, flush=True)), stream.finish().text)
"""
    assert printed(program).splitlines() == ["one two three", "0 one two three"]


def test_a_session_goes_on_in_a_child():
    """A session that is used on both sides of a fork diverges in memory."""
    session = Agent(ScriptedModel(["a", "b"]), "m").session("s", messages=[Message.user("x")])
    handle = session._handle
    session.run("y")
    handle.after_fork()

    assert shown(session) == ["x", "y", "a"]
    assert session.run("z").text == "b"
    assert kinds(session)[-4:] == TURN
    assert isinstance(session.fork(), Session)
