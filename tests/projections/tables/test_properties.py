"""However a log came about, tables that followed it are those that are built of it at once."""

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.errors import NothingToErase
from agent.eventstore.events import MessageAdded
from agent.eventstore.messages import Blob
from agent.eventstore.record import Recorded
from agent.tables import Tables
from tests.eventstore.test_machine import LogMachine
from tests.projections.histories import PICTURES, History, histories
from tests.projections.tables.given import content, delete, erase, index_is_whole

EXAMPLES = 3 * settings().max_examples


def compare(log: SQLiteLog, tables: Tables) -> None:
    """Both ways of building give the same rows, and an index that fits them."""
    tables.catch_up()
    anew = Tables(log)
    anew.catch_up()
    assert content(tables) == content(anew)
    for built in (tables, anew):
        index_is_whole(built)


class TablesMachine(LogMachine):
    """Any log, with tables that catch up now and then."""

    def setup(self) -> None:
        """Have tables beside the log."""
        if not hasattr(self, "tables"):
            self.tables = Tables(self.sqlite, Path(self.folder.name, "tables.db"))

    @rule()
    def catch_up(self) -> None:
        """Follow the feed."""
        self.setup()
        self.tables._log = self.sqlite
        self.tables.catch_up()

    @rule()
    def look(self) -> None:
        """The history of each session is what its stream holds."""
        self.catch_up()
        rows = self.tables.sql(
            "SELECT key, h.version, text FROM history h JOIN sessions s ON s.id = h.session"
        )
        found = {(row["key"], row["version"], row["text"]) for row in rows}
        said = {
            (name, row.fact.version, event.message.text)
            for name, held in self.model.streams.items()
            for row in held
            if isinstance(event := row.fact.event, MessageAdded)
        }
        assert found == said

    def teardown(self) -> None:
        """Compare once."""
        if hasattr(self, "tables"):
            self.catch_up()
            compare(self.sqlite, self.tables)
        super().teardown()


del LogMachine


class TestTablesMachine(TablesMachine.TestCase):
    """Forks, deletions, names that are used again, and imports change nothing of that."""

    settings = settings(max_examples=EXAMPLES, stateful_step_count=30)


seldom = st.integers(0, 7).map(lambda number: number == 1)


@st.composite
def lives(draw: st.DrawFn) -> tuple[History, list[bool], list[str], list[int]]:
    """A history, after which events to catch up, what to delete, and what to erase."""
    history = draw(histories())
    streams = sorted({fact.stream for fact in history.facts})
    erasable = [
        fact.version
        for fact in history.facts
        if fact.type not in ("session.started", "session.forked")
    ]
    return (
        history,
        draw(st.lists(seldom, min_size=len(history.facts), max_size=len(history.facts))),
        draw(st.lists(st.sampled_from(streams), unique=True)),
        draw(st.lists(st.sampled_from(erasable), unique=True, max_size=3)) if erasable else [],
    )


def write(log: SQLiteLog, fact: Recorded, before: Recorded | None) -> None:
    """Write the next event of a history."""
    if before is not None and fact.stream != before.stream:
        log.fork(before.stream, fact.stream, at=before.version, prepared=fact)
    else:
        log.append(fact.stream, [fact], expected=before and before.head)


@given(lives())
def test_any_history(life: Any):
    """Turns, tools, failures, rewinds, compactions, forks, erasures and deletions."""
    history, pauses, doomed, erased = life
    with TemporaryDirectory() as folder:
        log = SQLiteLog(Path(folder, "log.db"), durability="os")
        tables = Tables(log, Path(folder, "tables.db"))
        for data in PICTURES:
            assert log.put_blob(data) == Blob.of(data).digest
        before = None
        for fact, pause in zip(history.facts, pauses, strict=True):
            write(log, fact, before)
            before = fact
            if pause:
                tables.catch_up()
        for version in erased:
            with suppress(NothingToErase):
                erase(log, version, stream=history.stream)
            if pauses[version - 1]:
                tables.catch_up()
        compare(log, tables)
        for stream in doomed:
            delete(log, stream)
            if pauses[0]:
                tables.catch_up()
        compare(log, tables)
        log.close()
