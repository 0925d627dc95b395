"""The feed of a log, written into the tables event by event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.eventstore.core import DELETED, FORKED, STARTED
from agent.eventstore.events import PayloadErased
from agent.projections.tables.rows import event_of, rows_of
from agent.projections.tables.schema import SINGLE

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from agent.eventstore.log import EventLog
    from agent.eventstore.record import Recorded

_OWN = 2**63 - 1
"""Up to which version a session holds its own events: all."""

_TABLES = ("texts", *SINGLE)
_CONTEXTS = (
    ("texts", "turn", "NULL AS request"),
    ("labels", "NULL AS turn", "NULL AS request"),
    ("starts", "NULL AS turn", "NULL AS request"),
    ("ends", "turn", "NULL AS request"),
    ("answers", "NULL AS turn", "request"),
)
"""Tables with rows that an erasure changes, and what these know of the events before theirs."""

_OF_TURNS = ("model.", "tool.", "approval.", "output.", "turn.")

_TURN = """
SELECT turn FROM (
  SELECT session, version, version AS turn FROM starts UNION ALL
  SELECT session, version, turn FROM ends
) e JOIN lineage l ON l.origin = e.session AND e.version <= l.until
WHERE l.session = ? ORDER BY e.version DESC LIMIT 1"""

_RESUMED = """
SELECT s.version FROM starts s JOIN lineage l ON l.origin = s.session AND s.version <= l.until
WHERE l.session = ? AND coalesce(s.kind, 'user') = 'user' ORDER BY s.version DESC LIMIT 1"""


class _Stream:
    """A session that is being written: its row, and what its next events belong to."""

    def __init__(self, id_: int, version: int, turn: int | None, request: int | None) -> None:
        self.id = id_
        self.version = version
        self.updated_at = 0
        self.turn = turn
        self.request = request


class Projector:
    """Writes events into the tables of one connection, inside the caller's transactions.

    It remembers what the last events of each session were, so each call goes on where the one
    before ended. ``gap`` tells whether events were purged that nobody has seen, ``removed``
    whether text was taken away.
    """

    def __init__(self, log: EventLog, db: sqlite3.Connection) -> None:
        self.gap = False
        self.removed = False
        self._log = log
        self._db = db
        self._streams: dict[str, _Stream] = {}
        self._families: dict[int, Sequence[Recorded]] | None = None

    def write(self, facts: Sequence[Recorded]) -> None:
        """Write the next events of the feed."""
        touched: dict[int, _Stream] = {}
        for fact in facts:
            stream = self._stream(fact)
            if stream is None:
                continue
            touched[stream.id] = stream
            if fact.type == DELETED:
                self.gap = self.gap or fact.version > stream.version + 1
                del self._streams[fact.stream]
                del touched[stream.id]
                self._delete(stream.id)
                continue
            stream.version, stream.updated_at = fact.version, fact.recorded_at
            self._add(fact, stream)
        self._db.executemany(
            "UPDATE origins SET version = ?, updated_at = ? WHERE id = ?",
            [(stream.version, stream.updated_at, id_) for id_, stream in touched.items()],
        )

    def _add(self, fact: Recorded, stream: _Stream) -> None:
        if fact.type == "turn.started":
            stream.turn = fact.version
        elif fact.type == "turn.resumed":
            stream.turn = self._number(_RESUMED, stream.id)
        elif fact.type == "model.requested":
            stream.request = fact.version
        elif fact.type == "payload.erased":
            self._erase_named(fact)
        turn = stream.turn if fact.type.startswith(_OF_TURNS) else None
        self._insert_rows(fact, stream.id, turn, stream.request)

    def erase(self, fact: Recorded) -> None:
        """Write what came from an event again, from what is left of it."""
        where = "WHERE position = ?"
        kept = " UNION ALL ".join(
            f"SELECT session, {turn}, {request} FROM {table} {where}"
            for table, turn, request in _CONTEXTS
        )
        marks = (fact.position,) * len(_CONTEXTS)
        row = self._db.execute(f"SELECT session, max(turn), max(request) FROM ({kept})", marks)
        session, turn, request = row.fetchone()
        if session is None:
            return
        for table in _TABLES:
            self._db.execute(f"DELETE FROM {table} {where}", (fact.position,))
        self._insert_rows(fact, session, turn, request)
        self.removed = True

    def _insert_rows(
        self, fact: Recorded, session: int, turn: int | None, request: int | None
    ) -> None:
        common = {
            "position": fact.position,
            "session": session,
            "version": fact.version,
            "recorded_at": fact.recorded_at,
        }
        for table, row in rows_of(fact, turn=turn, request=request):
            self._insert(table, {**common, **row})

    def _erase_named(self, fact: Recorded) -> None:
        event = event_of(fact)
        for one in event.erased if isinstance(event, PayloadErased) else ():
            found = self._log.read(fact.stream, after=one.version - 1, until=one.version)
            erased = next((left for left in found if left.hash.hex() == one.hash), None)
            if erased is None:
                self.gap = True  # its stream has gone meanwhile; a fork may still hold it
            else:
                self.erase(erased)
        self.gap = self.gap or event is None

    def _stream(self, fact: Recorded) -> _Stream | None:
        known = self._streams.get(fact.stream)
        if known is None:
            known = self._read_stream(fact)
            if known is not None:
                self._streams[fact.stream] = known
        return known

    def _read_stream(self, fact: Recorded) -> _Stream | None:
        row = self._db.execute(
            "SELECT id, version FROM origins WHERE key = ? AND deleted = 0", (fact.stream,)
        ).fetchone()
        if row is None and fact.type == DELETED:
            self.gap = True  # it came and went unseen
            return None
        if row is None:
            id_ = fact.position or 0
            self._begin(fact, id_)
            return _Stream(id_, fact.version, self._number(_TURN, id_), None)
        id_, version = row
        request = "SELECT max(version) FROM requests WHERE session = ?"
        return _Stream(id_, version, self._number(_TURN, id_), self._number(request, id_))

    def _begin(self, fact: Recorded, id_: int) -> None:
        line = [(fact.position, fact.version)]
        if fact.type == FORKED:
            line = self._line(fact)
        self._insert(
            "origins",
            {
                "id": id_,
                "key": fact.stream,
                "since": fact.version,
                "deleted": 0,
                "parent": line[-2][0] if len(line) > 1 else None,
                "created_at": fact.recorded_at,
            },
        )
        ends = [since - 1 for _, since in line[1:]] + [_OWN]
        self._db.executemany(
            "INSERT INTO lineage (session, origin, after, until) VALUES (?, ?, ?, ?)",
            [
                (id_, origin, since - 1, until)
                for (origin, since), until in zip(line, ends, strict=True)
            ],
        )

    def _line(self, fact: Recorded) -> list[tuple[int | None, int]]:
        """The first own events of a fork and its ancestors, the root first: position, version.

        The feed names a parent by its session's id, which several streams may share. What the log
        reads of the fork, or of one that descends from it, says which stream it is.
        """
        types = (STARTED, FORKED)
        found = list(self._log.read(fact.stream, until=fact.version, types=types))
        if not found or found[-1].position != fact.position:
            found = [
                one
                for one in self._family(fact.position or 0)
                if (one.position or 0) <= (fact.position or 0)
            ]
        own = [
            (one.position, one.version)
            for one in found
            if self._db.execute("SELECT 1 FROM origins WHERE id = ?", (one.position,)).fetchone()
        ]
        return [*own, (fact.position, fact.version)]

    def _family(self, position: int) -> Sequence[Recorded]:
        if self._families is None:
            self._families = {}
            for info in self._log.streams():
                found = list(self._log.read(info.stream, types=(STARTED, FORKED)))
                self._families |= {fact.position or 0: found for fact in found}
        return self._families.get(position, ())

    def _delete(self, session: int | None) -> None:
        """Take away a session, and its ancestors whose last fork it was, as the log does."""
        self.removed = True
        self._db.execute(
            "UPDATE origins SET deleted = 1, version = NULL, updated_at = NULL WHERE id = ?",
            (session,),
        )
        while session is not None:
            parent, deleted, needed = self._db.execute(
                "SELECT parent, deleted, (SELECT max(since) - 1 FROM origins WHERE parent = o.id)"
                " FROM origins o WHERE id = ?",
                (session,),
            ).fetchone()
            if not deleted:
                return
            for table in _TABLES:
                self._db.execute(
                    f"DELETE FROM {table} WHERE session = ? AND version > ?",
                    (session, needed or 0),
                )
            if needed:
                return
            self._db.execute("DELETE FROM origins WHERE id = ?", (session,))
            self._db.execute("DELETE FROM lineage WHERE session = ?", (session,))
            session = parent

    def _insert(self, table: str, row: dict[str, Any]) -> None:
        names = ", ".join(row)
        marks = ", ".join("?" * len(row))
        self._db.execute(
            f"INSERT INTO {table} ({names}) VALUES ({marks})",
            tuple(row.values()),
        )

    def _number(self, query: str, id_: int) -> int | None:
        row = self._db.execute(query, (id_,)).fetchone()
        return row[0] if row else None
