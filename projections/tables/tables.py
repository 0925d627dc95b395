"""The tables of a log: kept up to date by its feed, asked by SQL, made anew at any time."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
import weakref
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.eventstore.backends.sqlite_connection import APPLICATION_ID, translated
from agent.eventstore.errors import StoreUnusable
from agent.projections.tables import schema
from agent.projections.tables.errors import QueryFailed
from agent.projections.tables.projector import Projector
from agent.projections.tables.searching import Hit, Kind, find

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from agent.eventstore.log import EventLog
    from agent.eventstore.record import Recorded

BATCH = 1000
"""Events written in one transaction: some 50 ms, in which another writer of the file waits."""

_STEP = 200
_REMOVED, _UNSWEPT = 1, 2
"""Text was removed and may still be in the file; and erasures may have gone by unseen."""

_CACHE_KIB = 65_536
"""Of memory while tables are written: the index of a large log is touched all over."""

_PATIENCE_MS = 100
"""For those who read the file, while it is cleaned: a writer would wait as well."""

_FORBIDDEN = {sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH}


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

    def catch_up(self) -> int:
        """Write what the log has gained since the last time; how many events that were.

        Each transaction is short, and holds its rows together with the place reached: after a
        crash it goes on from there. Tables of another release or another log are made anew. Text
        of erased payloads and deleted sessions is gone from the file, unless somebody is reading
        it just then; the next call removes it.
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

    def search(
        self,
        words: str,
        *,
        kind: Kind | None = None,
        limit: int = 20,
        marks: tuple[str, str] = ("[", "]"),
    ) -> list[Hit]:
        """The newest places where all the words were said, in what :meth:`catch_up` has read.

        Case and accents don't matter. ``"in quotes"`` is a phrase, ``begin*`` the beginning of a
        word, and nothing else is syntax. ``marks`` go around what was found.
        """
        with self._reading(seconds=None) as db:
            return find(db, words, kind=kind, limit=limit, marks=marks)

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
        with self._reading(seconds) as db:
            try:
                cursor = db.execute(query, parameters)
                names = [column[0] for column in cursor.description or ()]
                return [dict(zip(names, row, strict=True)) for row in cursor]
            except (sqlite3.Error, sqlite3.Warning, OverflowError, UnicodeEncodeError) as error:
                if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
                    raise QueryFailed(f"it took longer than {seconds:g} seconds") from error
                raise QueryFailed(str(error)) from error

    def _prepare(self, db: sqlite3.Connection) -> None:
        """See that the tables are there, of this release and of this log."""
        with _transaction(db):
            if _is_current(db) and self._is_of_this_log(db):
                return
            _refuse_foreign(db, self.path)
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
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA secure_delete = ON")
            db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            yield db

    @contextmanager
    def _reading(self, seconds: float | None) -> Generator[sqlite3.Connection]:
        if not self._is_built():
            self.catch_up()
        with translated(self.path), closing(self._connect("ro")) as db:
            for name, function in self._functions.items():
                db.create_function(name, -1, function)
            db.execute("PRAGMA query_only = ON")
            db.set_authorizer(_authorize)
            if seconds is not None:
                deadline = time.monotonic() + seconds
                db.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
            yield db

    def _is_built(self) -> bool:
        if not Path(self.path).exists():
            return False
        with translated(self.path), closing(self._connect("ro")) as db:
            return _is_current(db)

    def _connect(self, mode: str) -> sqlite3.Connection:
        uri = Path(self.path).as_uri() + f"?mode={mode}"
        return sqlite3.connect(uri, uri=True, timeout=self._busy_timeout, isolation_level=None)


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


def _checkpoint(db: sqlite3.Connection) -> bool:
    """Empty the file's -wal, unless somebody is reading it."""
    db.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
    busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy
