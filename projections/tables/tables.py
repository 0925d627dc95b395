"""The tables of a log: kept up to date by its feed, asked by SQL, made anew at any time."""

from __future__ import annotations

import math
import os
import shutil
import sqlite3
import tempfile
import time
import weakref
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.eventstore.backends.sqlite_connection import APPLICATION_ID, translated
from agent.eventstore.backends.sqlite_file import archive_uri, is_archive
from agent.eventstore.errors import StoreBusy, StoreUnusable
from agent.projections.tables import schema
from agent.projections.tables.checking import Checked, damage, differences, lost
from agent.projections.tables.errors import QueryFailed
from agent.projections.tables.projector import Projector
from agent.projections.tables.searching import KINDS, Hit, Kind, find, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Mapping, Sequence

    from agent.eventstore.log import EventLog
    from agent.eventstore.record import Recorded

BATCH = 1000
"""Events written in one transaction: some 50 ms, in which another writer of the file waits."""

_STEP = 200
_REMOVED, _UNSWEPT = 1, 2
"""Text was removed and may still be in the file; and erasures may have gone by unseen."""

_CACHE_KIB = 65_536
"""Of memory while tables are written: the index of a large log is touched all over."""

_PATIENCE = 0.1
"""Seconds for those who read the file, while it is cleaned: a writer would wait as well."""

_FORBIDDEN = {sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH}


class Answer(NamedTuple):
    """What a query has found."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


class Tables:
    """Tables and a full-text index of a log, in a SQLite file of their own.

    Nothing here writes to the log. ``path`` may be the file of the log as well; without one the
    tables end with this object. ``functions`` are what queries may call besides SQLite's own.
    The tables say what was said, not what a session shows now: they know nothing of rewinds.
    """

    def __init__(
        self,
        log: EventLog,
        path: str | os.PathLike[str] | None = None,
        *,
        functions: Mapping[str, Callable[..., float | None]] | None = None,
        busy_timeout: float = 30.0,
    ) -> None:
        self._log = log
        self._functions = dict(functions or {})
        self._busy_timeout = busy_timeout
        if path is None:
            folder = tempfile.mkdtemp(prefix="agent-tables-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            path = Path(folder, "tables.db")
        self.path = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - links are left as they are

    def catch_up(self, *, progress: Callable[[int], object] | None = None) -> int:
        """Write what the log has gained since the last time; how many events that were.

        Each transaction is short, and holds its rows together with the place reached: after a
        crash it goes on from there. Tables of another release or another log are made anew. Text
        of erased payloads and deleted sessions is gone from the file, unless somebody is reading
        it just then; the next call removes it. ``progress`` is told each position reached.
        """
        self._log.head(
            "-"
        )  # which makes the file of a log: it takes none that holds tables already
        with self._writing() as db:
            self._prepare(db)
            start = _reached(db)
            projector, count = Projector(self._log, db), 0
            while True:
                position = _reached(db)
                facts = list(islice(self._log.read_all(after=position), BATCH))
                if not facts:
                    break
                with _transaction(db):
                    if _reached(db) == position:
                        projector.write(facts)
                        _note(db, facts[-1], projector, sweep=projector.gap and start > 0)
                        count += len(facts)
                        if progress:
                            progress(facts[-1].position or 0)
                        continue
                projector = Projector(self._log, db)  # another process was faster
            if _unclean(db) == _UNSWEPT:
                self._sweep(db, projector)
            if _unclean(db):
                _clean(db)
            return count

    def rebuild(self) -> int:
        """Make everything anew from the log; how many events that were."""
        self.drop()
        return self.catch_up()

    def drop(self) -> None:
        """Remove the tables. The log is untouched; :meth:`catch_up` makes them again."""
        with self._writing() as db:
            with _transaction(db):
                schema.drop(db)
            _checkpoint(db)

    def vacuum(self) -> None:
        """Write the file anew, once caught up, so that no byte is left of what is gone from it.

        Where there are no tables, none are made. Raises :class:`StoreBusy` when somebody does not
        let go of an older state, :class:`StoreFull`.
        """
        if not self._is_there():
            return
        self.catch_up()
        with self._writing() as db:
            db.execute("VACUUM")
            if not _checkpoint(db, patience=self._busy_timeout):
                raise StoreBusy(
                    f"{self.path}: somebody is reading older tables, which hold what was erased; "
                    "vacuum again when that is over"
                )

    def verify(self, *, progress: Callable[[int], object] | None = None) -> Checked:
        """Whether the tables say what the log says: held against others that are built anew.

        Compared is a copy that has caught up. It takes the time of :meth:`rebuild`, and room for
        both beside each other in the folder for temporary files; nothing of one's own is changed.
        """
        if not Path(self.path).exists():
            return Checked(0, [])
        with tempfile.TemporaryDirectory(prefix="agent-tables-") as folder:
            copy = Tables(self._log, Path(folder, "copy.db"))
            anew = Tables(self._log, Path(folder, "anew.db"))
            try:
                with translated(self.path), closing(self._connect("ro")) as db:
                    return self._copied(db, copy, anew, progress)
            except (StoreUnusable, sqlite3.Error) as error:
                return Checked(0, [lost(error)])

    def _copied(
        self,
        db: sqlite3.Connection,
        copy: Tables,
        anew: Tables,
        progress: Callable[[int], object] | None,
    ) -> Checked:
        with closing(copy._connect("rwc")) as other:
            db.backup(other)
            other.text_factory = bytes  # what is damaged may be no text
            found = list(damage(other))
            if not found and not schema.made(other):
                return Checked(0, [])
            if not found and not _is_current(other):
                found = [lost("they are of another release; catch_up() makes them anew")]
            if not found and not self._is_of_this_log(other):
                found = [lost("the log does not have the event that they have read last")]
        if found:
            return Checked(0, found)
        anew.catch_up(progress=progress)
        while copy.catch_up() + anew.catch_up():
            pass  # until both have seen the same, while others write to the log
        with closing(copy._connect("rw")) as other:
            other.text_factory = bytes
            other.execute("ATTACH ? AS anew", (anew.path,))
            return differences(other)

    def search(
        self,
        words: str,
        *,
        kind: Kind | Collection[Kind] | None = None,
        session: str | None = None,
        limit: int = 20,
        marks: tuple[str, str] = ("[", "]"),
        raw: bool = False,
    ) -> list[Hit]:
        """The newest places where all the words were said, in what :meth:`catch_up` has read.

        Case and accents don't matter. ``"in quotes"`` is a phrase, ``begin*`` the beginning of a
        word, and nothing else is syntax; with ``raw`` it is the whole syntax of SQLite's FTS5, and
        :class:`QueryFailed` is raised for what is none. ``session`` asks one session only, with
        what it inherited. ``marks`` go around what was found.
        """
        kinds = KINDS if kind is None else (kind,) if isinstance(kind, str) else kind
        query = words if raw else quoted(words)
        with self._reading() as db, _asking(db):
            return find(db, query, kinds=kinds, session=session, limit=limit, marks=marks)

    def sql(
        self,
        query: str,
        parameters: Sequence[object] | Mapping[str, object] = (),
        *,
        seconds: float = 10.0,
    ) -> list[dict[str, Any]]:
        """The rows of a query, each by the names of its columns.

        Nothing can be changed by it. Raises :class:`QueryFailed`, also when it takes longer than
        so many seconds.
        """
        names, rows = self.ask(query, parameters, seconds=seconds)
        return [dict(zip(names, row, strict=True)) for row in rows]

    def ask(
        self,
        query: str,
        parameters: Sequence[object] | Mapping[str, object] = (),
        *,
        seconds: float = 10.0,
    ) -> Answer:
        """As :meth:`sql`, with the columns apart: where there are no rows, or names come twice."""
        with self._reading() as db, _asking(db, seconds):
            cursor = db.execute(query, parameters)
            return Answer([column[0] for column in cursor.description or ()], cursor.fetchall())

    def _prepare(self, db: sqlite3.Connection) -> None:
        """See that the tables are there, of this release and of this log."""
        with _transaction(db):
            if _is_current(db) and self._is_of_this_log(db):
                return
            schema.drop(db)
            schema.create(db)

    def _is_of_this_log(self, db: sqlite3.Connection) -> bool:
        """Whether the log still has the last event that was read of it, or purged it later."""
        position, digest = db.execute("SELECT position, hash FROM progress").fetchone()
        if not position:
            return True
        fact = next(self._log.read_all(after=position - 1), None)
        return fact is not None and (fact.position != position or fact.hash == digest)

    def _sweep(self, db: sqlite3.Connection, projector: Projector) -> None:
        """Look for payloads that were erased by events which are gone themselves."""
        erased = [fact for fact in self._log.read_all() if fact.erased]
        for first in range(0, len(erased), _STEP):
            with _transaction(db):
                for fact in erased[first : first + _STEP]:
                    projector.erase(fact)
        db.execute("UPDATE progress SET unclean = ?", (_REMOVED,))

    @contextmanager
    def _writing(self) -> Generator[sqlite3.Connection]:
        with translated(self.path), closing(self._connect("rwc")) as db:
            _refuse_foreign(db, self.path)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA secure_delete = ON")
            db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            yield db

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection]:
        if not self._is_built():
            self.catch_up()
        with translated(self.path), closing(self._connect("ro")) as db:
            for name, function in self._functions.items():
                db.create_function(name, -1, function)
            db.execute("PRAGMA query_only = ON")
            db.set_authorizer(_authorize)
            yield db

    def _is_built(self) -> bool:
        if not Path(self.path).exists():
            return False
        with translated(self.path), closing(self._connect("ro")) as db:
            return _is_current(db)

    def _is_there(self) -> bool:
        """Whether there are tables, of whatever release."""
        if not Path(self.path).exists():
            return False
        with translated(self.path), closing(self._connect("ro")) as db:
            query = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'progress'"
            return db.execute(query).fetchone() is not None

    def _connect(self, mode: str) -> sqlite3.Connection:
        archive = mode == "ro" and is_archive(self.path)
        uri = archive_uri(self.path) if archive else Path(self.path).as_uri() + f"?mode={mode}"
        return sqlite3.connect(uri, uri=True, timeout=self._busy_timeout, isolation_level=None)


@contextmanager
def _asking(db: sqlite3.Connection, seconds: float = math.inf) -> Generator[None]:
    """Give a query so much time, and turn what SQLite says of it into :class:`QueryFailed`."""
    deadline = time.monotonic() + seconds
    db.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
    try:
        yield
    except (sqlite3.Error, sqlite3.Warning, OverflowError, UnicodeEncodeError) as error:
        if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_INTERRUPT:
            raise QueryFailed(str(error)) from error
        # Ctrl-C arrives where the time is asked for, and SQLite takes it for an answer.
        if time.monotonic() <= deadline:
            raise KeyboardInterrupt from error
        raise QueryFailed(f"it took longer than {seconds:g} seconds") from error


def _authorize(action: int, *_: object) -> int:
    return sqlite3.SQLITE_DENY if action in _FORBIDDEN else sqlite3.SQLITE_OK


@contextmanager
def _transaction(db: sqlite3.Connection) -> Generator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _reached(db: sqlite3.Connection) -> int:
    return db.execute("SELECT position FROM progress").fetchone()[0]


def _is_current(db: sqlite3.Connection) -> bool:
    try:
        row = db.execute("SELECT schema FROM progress").fetchone()
    except sqlite3.OperationalError:
        return False
    return row == (schema.VERSION,)


def _refuse_foreign(db: sqlite3.Connection, path: str) -> None:
    (application,) = db.execute("PRAGMA application_id").fetchone()
    names = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if names and application != APPLICATION_ID and not {"progress", "origins", "texts"} <= names:
        raise StoreUnusable(f"{path} is a database of something else; name another file")


def _unclean(db: sqlite3.Connection) -> int:
    return db.execute("SELECT unclean FROM progress").fetchone()[0]


def _note(db: sqlite3.Connection, fact: Recorded, projector: Projector, *, sweep: bool) -> None:
    """Remember how far the tables are, in the transaction of their rows."""
    state = _UNSWEPT if sweep else _REMOVED if projector.removed else 0
    db.execute(
        "UPDATE progress SET position = ?, hash = ?, unclean = max(unclean, ?)",
        (fact.position, fact.hash, state),
    )


def _clean(db: sqlite3.Connection) -> None:
    """Let no byte of removed text stay in the index or beside the file."""
    # A deletion leaves the words in the index until its parts are merged: by small steps, since
    # 'optimize' would do all in one transaction.
    pages = -500
    while True:
        before = db.total_changes
        db.execute("INSERT INTO search (search, rank) VALUES ('merge', ?)", (pages,))
        if db.total_changes - before < 2:
            break
        pages = 500
    if _checkpoint(db):
        db.execute("UPDATE progress SET unclean = 0")


def _checkpoint(db: sqlite3.Connection, patience: float = _PATIENCE) -> bool:
    """Empty the file's -wal, unless somebody is reading it for longer than so many seconds."""
    db.execute(f"PRAGMA busy_timeout = {round(1000 * patience)}")
    busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy
