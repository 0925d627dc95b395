import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agent import Agent
from agent.errors import QueryFailed, StoreUnusable
from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.events import SystemChanged
from agent.projections.tables import schema
from agent.stores import MemoryStore, SQLiteStore
from agent.tables import Hit, Tables
from agent.testing import ScriptedModel
from tests.projections.given import (
    STARTED,
    added,
    asked,
    begun,
    recorded,
    requested,
    returned,
    turn,
)
from tests.projections.tables.given import content, delete, erase, fork, grow, log_of

SECRET = "xylophone"
LATER = "zeppelin"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SQLiteLog]:
    """A log with a session ``s`` of one turn."""
    opened = log_of(tmp_path, STARTED, *turn("Where is Zoë's tea?", f"In the {SECRET}."))
    yield opened
    opened.close()


@pytest.fixture
def tables(log: SQLiteLog, tmp_path: Path) -> Tables:
    """Tables beside the log, which have caught up."""
    built = Tables(log, tmp_path / "tables.db")
    assert built.catch_up() == 5
    return built


def places(tables: Tables, words: str) -> list[tuple[str, int, str]]:
    """Where words are found."""
    return [(hit.session, hit.version, hit.snippet) for hit in tables.search(words)]


def test_a_hit_names_session_version_and_turn(tables: Tables):
    """A hit says where the words stand, with marks around them."""
    assert tables.search("tea", marks=("<b>", "</b>")) == [
        Hit("s", 2, 2, "input", None, 0, "Where is Zoë's <b>tea</b>?", "user")
    ]


def test_case_and_accents_do_not_matter(tables: Tables):
    """What is typed without accents finds what has them."""
    assert places(tables, "ZOE") == [("s", 2, "Where is [Zoë]'s tea?")]


def test_system_prompts_calls_and_results_are_found(log: SQLiteLog, tables: Tables):
    """Everything that was said is in the index."""
    grow(log, begun("Go"), requested(), asked("c1"), returned("c1", "sunny"))
    grow(log, SystemChanged(system="Be kind."))
    tables.catch_up()

    assert [hit.kind for hit in tables.search("be")] == ["system", "system"]
    assert [hit.kind for hit in tables.search("sunny", kind="result")] == ["result"]
    assert tables.search("sunny", kind="input") == []


@pytest.mark.parametrize(
    "words",
    [
        '"',
        'tea "',
        "tea*",
        "tea AND",
        "NEAR(",
        "text:tea",
        "(",
        "-tea",
        "^tea",
        "tea\0",
        "a' OR 1",
        "",
    ],
)
def test_nothing_that_is_typed_is_a_syntax_error(tables: Tables, words: str):
    """Quotes without a partner, operators, columns and NULs are words, or nothing."""
    expected = [("s", 2, "Where is Zoë's [tea]?")]
    wanted = {'tea "', "tea*", "(tea", "-tea", "^tea", "tea\0"}
    assert places(tables, words) == (expected if words in wanted else [])


def test_half_a_character_and_a_whole_page_can_be_searched(tables: Tables):
    """A lone surrogate is no word, and of a thousand words the first hundred count."""
    assert len(tables.search("\ud800 tea")) == 1
    assert len(tables.search("tea " * 1000)) == 1


def test_phrases_and_prefixes(tables: Tables):
    """Words in quotes stand together, a star ends the beginning of a word."""
    assert len(tables.search('"in the"')) == 1
    assert tables.search('"the in"') == []
    assert len(tables.search("xylo*")) == 1
    assert tables.search("xylo") == []


def test_sql_gives_rows_by_name(tables: Tables):
    """A query is answered with dictionaries, and takes parameters."""
    query = "SELECT status, turn FROM turns WHERE turn = ?"
    assert tables.sql(query, [2]) == [{"status": "completed", "turn": 2}]


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM texts",
        "DROP TABLE texts",
        "CREATE TABLE x (y)",
        "ATTACH 'other.db' AS other",
        "SELEC",
        "SELECT 1; SELECT 2",
        "PRAGMA query_only = OFF; DELETE FROM texts",
        "VACUUM INTO 'other.db'",
    ],
)
def test_a_query_changes_nothing(tables: Tables, query: str, tmp_path: Path):
    """What writes, reaches elsewhere or is no query is refused."""
    before = content(tables)
    with pytest.raises(QueryFailed):
        tables.sql(query)
    assert content(tables) == before
    assert not Path("other.db").exists()


def test_a_query_that_takes_too_long_is_stopped(tables: Tables):
    """An endless query ends at its time, and says so."""
    endless = (
        "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c"
    )
    with pytest.raises(QueryFailed) as caught:
        tables.sql(endless, seconds=0.1)
    assert caught.value.reason == "it took longer than 0.1 seconds"


def test_an_interrupted_query_is_no_slow_one(tables: Tables):
    """Ctrl-C comes out of a query as what it is."""
    endless = (
        "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c"
    )
    timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        tables.sql(endless, seconds=30)
    timer.join()


def test_columns_come_with_the_rows(tables: Tables):
    """Also where there are no rows, and where a name comes twice."""
    assert tables.ask("SELECT 1 AS a, 2 AS a") == (["a", "a"], [(1, 2)])
    assert tables.ask("SELECT key FROM sessions WHERE 0") == (["key"], [])


def test_a_search_in_one_session(log: SQLiteLog, tables: Tables):
    """What it inherited is found in it, what its parent said later is not."""
    fork(log, "child", 3)
    grow(log, added("More tea"))
    tables.catch_up()

    hits = tables.search("tea", session="child")
    assert [(hit.session, hit.version) for hit in hits] == [("child", 2)]
    assert tables.search("tea", session="nobody") == []


def test_several_kinds_of_texts(tables: Tables):
    """What was asked and what was answered may be looked for together."""
    assert [hit.kind for hit in tables.search("the", kind=("input", "answer"))] == ["answer"]
    assert tables.search("the", kind=()) == []


def test_a_query_of_ones_own(tables: Tables):
    """With `raw` the syntax is that of SQLite, and its errors are told."""
    assert [hit.version for hit in tables.search("tea OR xylophone", raw=True)] == [4, 2]
    with pytest.raises(QueryFailed, match="syntax error"):
        tables.search("tea OR", raw=True)


def test_progress_is_told(log: SQLiteLog, tmp_path: Path):
    """Each position that is reached is handed out."""
    reached: list[int] = []
    Tables(log, tmp_path / "other.db").catch_up(progress=reached.append)

    assert reached == [5]


def test_a_fork_has_its_inherited_history_without_a_copy(log: SQLiteLog, tables: Tables):
    """`history` shows it under each session; the rows stand once."""
    fork(log, "c", at=5)
    grow(log, added("Mine"), stream="c")
    tables.catch_up()

    query = (
        "SELECT h.version, text FROM history h JOIN sessions s ON s.id = h.session WHERE key = ?"
    )
    assert [row["version"] for row in tables.sql(query, ["c"])] == [1, 2, 4, 7]
    assert tables.sql("SELECT count(*) AS n FROM texts") == [{"n": 4}]


def test_a_deleted_session_is_gone_from_the_bytes(log: SQLiteLog, tables: Tables):
    """Nothing of what it said stays in the file or beside it, in the index neither."""
    delete(log, "s")
    log.append("t", [*log_events(LATER)], expected=None)
    assert tables.catch_up() == 3

    assert tables.search(SECRET) == tables.sql("SELECT * FROM texts WHERE version > 2") == []
    assert held(tables, SECRET) == []
    assert held(tables, LATER) == ["tables.db"]


def test_what_a_fork_needs_of_a_deleted_session_is_found_in_the_fork(
    log: SQLiteLog, tables: Tables
):
    """The session leaves the listing; its shared part is shown as the fork's."""
    fork(log, "c", at=3)
    delete(log, "s")
    tables.catch_up()

    assert [row["key"] for row in tables.sql("SELECT key FROM sessions")] == ["c"]
    assert places(tables, "tea") == [("c", 2, "Where is Zoë's [tea]?")]
    assert held(tables, SECRET) == []


def test_an_erased_payload_is_gone_from_the_bytes(log: SQLiteLog, tables: Tables):
    """`payload.erased` takes away what the event had said."""
    erase(log, 4)
    tables.catch_up()

    assert tables.search(SECRET) == []
    assert held(tables, SECRET) == []
    assert [row["text"] for row in tables.sql("SELECT text FROM messages")][-1] == "[erased]"


def test_what_an_erased_answer_has_used_stays(log: SQLiteLog, tables: Tables):
    """Tokens are no text: figures are the same after an erasure."""
    before = tables.sql("SELECT * FROM usage")
    erase(log, 4)
    tables.catch_up()

    assert len(before) == 1
    assert tables.sql("SELECT * FROM usage") == before


def test_an_erasure_through_a_fork_that_is_gone_is_noticed(log: SQLiteLog, tables: Tables):
    """Whoever missed the event, purged with its session, looks at the payloads themselves."""
    fork(log, "c", at=5)
    erase(log, 4)
    fork(log, "d", at=5, parent="c")
    delete(log, "s")
    delete(log, "c")
    tables.catch_up()

    assert held(tables, SECRET) == []


def test_a_payload_that_does_not_decode_stops_nothing(log: SQLiteLog, tables: Tables):
    """The event has no text; those after it have theirs."""
    with closing(sqlite3.connect(log.path)) as db, db:
        db.execute("DROP TRIGGER events_are_never_changed")
        db.execute("UPDATE events SET payload = '{' WHERE position = 2")
        db.execute("UPDATE events SET type = 'later.thing' WHERE position = 3")
    assert tables.rebuild() == 5
    assert [row["version"] for row in tables.sql("SELECT version FROM messages")] == [1, 4]


def test_tables_of_another_version_are_made_anew(tables: Tables, monkeypatch: pytest.MonkeyPatch):
    """Whoever builds something else begins at the first event."""
    before = content(tables)
    assert tables.catch_up() == 0
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    assert tables.catch_up() == 5
    assert content(tables) == before


def test_tables_of_another_log_are_made_anew(tables: Tables, tmp_path: Path):
    """A log that does not have the event where they ended is another one, or an older copy."""
    (tmp_path / "other").mkdir()
    other = log_of(tmp_path / "other", STARTED, added("Other"))
    moved = Tables(other, tables.path)
    assert moved.catch_up() == 2
    assert [row["text"] for row in moved.sql("SELECT text FROM messages")] == ["Be brief.", "Other"]
    other.close()


def test_a_foreign_file_is_left_alone(log: SQLiteLog, tmp_path: Path):
    """A database of something else is refused, and stays as it is to the byte."""
    path = tmp_path / "mine.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE mine (x)")
    before = path.read_bytes()
    with pytest.raises(StoreUnusable):
        Tables(log, path).catch_up()
    assert path.read_bytes() == before


def test_dropped_and_made_again(log: SQLiteLog, tables: Tables):
    """Dropping leaves nothing, building anew gives the same."""
    before = content(tables)
    tables.drop()
    assert held(tables, SECRET) == []
    assert len(tables.search("tea")) == 1
    assert content(tables) == before


def test_what_is_being_read_is_cleaned_the_next_time(log: SQLiteLog, tables: Tables):
    """A reader keeps old pages beside the file; nobody waits for it, and nothing is forgotten."""
    with closing(sqlite3.connect(tables.path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM texts").fetchone()
        delete(log, "s")
        tables.catch_up()
        assert held(tables, SECRET) != []
        assert tables.search(SECRET) == []
    tables.catch_up()
    assert held(tables, SECRET) == []


def test_in_the_file_of_the_log(log: SQLiteLog):
    """The log does not mind tables in its own file, nor their end."""
    same = Tables(log, log.path)
    assert same.catch_up() == 5
    assert places(same, "tea") == [("s", 2, "Where is Zoë's [tea]?")]
    grow(log, added("More"))
    same.drop()
    log.close()
    assert len(list(SQLiteLog(log.path).read("s"))) == 6


WRITER = """
import sys
from agent import Agent
from agent.stores import SQLiteStore
from agent.testing import ScriptedModel
agent = Agent(ScriptedModel(lambda _: "Yes"), store=SQLiteStore(sys.argv[1], busy_timeout=10))
session = agent.session("busy")
for number in range(150):
    session.run(f"Question {number}")
print("done", session.version)
"""


@pytest.mark.parametrize("beside", [True, False])
def test_a_writer_in_another_process_never_fails(tmp_path: Path, beside: bool):
    """While tables are built again and again, even in its own file, every turn is stored."""
    path = tmp_path / "log.db"
    store = SQLiteStore(path, durability="os")
    store.tables(None if beside else path).catch_up()
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE
    ) as child:
        tables = store.tables(None if beside else path)
        while child.poll() is None:
            tables.rebuild()
        assert child.stdout
        assert child.stdout.read() == b"done 601\n"
    tables.catch_up()
    assert tables.sql("SELECT count(*) AS n FROM turns") == [{"n": 150}]
    store.close()


def test_two_builders_write_each_event_once(log: SQLiteLog, tables: Tables):
    """Whoever comes second goes on where the first has ended."""
    other = Tables(log, tables.path)
    grow(log, added("More"))
    assert (other.catch_up(), tables.catch_up()) == (1, 0)


def test_a_store_has_tables_beside_its_file(tmp_path: Path):
    """`store.tables()` lies beside the store, and costs are asked of the price table."""
    with SQLiteStore(tmp_path / "x.db") as store:
        tables = store.tables()
        Agent(ScriptedModel(lambda _: "Hi"), store=store).session("a").run("Hello")
        assert tables.path == str(tmp_path / "x.tables.db")
        assert tables.sql("SELECT count(*) AS n FROM turns") == [{"n": 1}]
        query = (
            "SELECT cost('openai', 'gpt-4o', 1000000, 0, 0, 0) AS known, cost('?', 'm', 1, 1) AS no"
        )
        assert tables.sql(query) == [{"known": 2.5, "no": None}]


def test_a_store_in_memory_has_tables_too():
    """They lie in a file that ends with them."""
    store = MemoryStore()
    Agent(ScriptedModel(lambda _: "Hi"), store=store).session("a").run("Hello")
    tables = store.tables()
    tables.catch_up()
    folder = Path(tables.path).parent
    assert [hit.session for hit in tables.search("hello")] == ["a"]
    del tables
    assert not folder.exists()


def log_events(text: str):
    """A session that says one thing."""
    return recorded(STARTED, added(text))


def held(tables: Tables, text: str) -> list[str]:
    """The files of the tables that hold these bytes."""
    path = Path(tables.path)
    return [
        file.name
        for file in path.parent.glob(path.name + "*")
        if text.encode() in file.read_bytes()
    ]


def test_calls_of_one_name_in_many_sessions(tables: Tables):
    """A call is looked for in its own session, however many others have one of its name."""
    plan = tables.sql("EXPLAIN QUERY PLAN SELECT * FROM tool_calls")

    details = [row["detail"] for row in plan if "call_id=?" in row["detail"]]
    assert ["session=? AND call_id=?" in detail for detail in details] == [True, True]
