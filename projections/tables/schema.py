"""The tables, their views, and the full-text index.

Rows are only ever added, one or more for an event, and taken away with it. Whatever later events
say of earlier ones is left to views, so that removing the last events of a session needs no undo.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

VERSION = 1
"""Raised with any change of what is built. Tables of another version are built anew."""

SINGLE = ("labels", "starts", "ends", "requests", "answers")
"""Tables that have one row of an event, or none."""


def _of(kind: type, names: str) -> dict[str, type]:
    return dict.fromkeys(names.split(), kind)


_EVENT = _of(int, "position session version recorded_at")
_COLUMNS = {
    "origins": {
        **_of(int, "id parent since version created_at updated_at deleted"),
        **_of(str, "key"),
    },
    "lineage": _of(int, "session origin after until"),
    "texts": {
        **_of(int, "id"),
        **_EVENT,
        **_of(int, "turn"),
        **_of(str, "kind role call_id tool text"),
        **_of(int, "is_error"),
        **_of(float, "elapsed"),
    },
    "labels": {**_EVENT, **_of(str, "type session_id metadata")},
    "starts": {**_EVENT, **_of(str, "kind")},
    "ends": {**_EVENT, **_of(int, "turn"), **_of(str, "status error reason")},
    "requests": {
        **_EVENT,
        **_of(int, "turn step attempt"),
        **_of(str, "provider api model"),
    },
    "answers": {
        **_EVENT,
        **_of(int, "request"),
        **_of(str, "error finish_reason model"),
        **_of(float, "elapsed"),
        **_of(int, "input_tokens output_tokens cached_tokens"),
        **_of(int, "cache_write_tokens reasoning_tokens"),
    },
    "progress": {**_of(int, "schema position unclean"), "hash": bytes},
}
_KEYS = {
    **dict.fromkeys(SINGLE, "position"),
    "texts": "id",
    "origins": "id",
    "lineage": ("session", "origin"),
    "progress": "schema",
}

_INDEXES = """
CREATE INDEX origins_key ON origins (key) WHERE deleted = 0;
CREATE INDEX origins_parent ON origins (parent, since) WHERE parent IS NOT NULL;
CREATE INDEX lineage_origin ON lineage (origin);
CREATE INDEX texts_session ON texts (session, version);
CREATE INDEX texts_position ON texts (position);
CREATE INDEX texts_call ON texts (call_id) WHERE call_id IS NOT NULL;
CREATE INDEX labels_session ON labels (session, version);
CREATE INDEX starts_session ON starts (session, version);
CREATE INDEX ends_session ON ends (session, version);
CREATE INDEX ends_turn ON ends (session, turn, version);
CREATE INDEX requests_session ON requests (session, version);
CREATE INDEX answers_session ON answers (session, version);
CREATE INDEX answers_request ON answers (session, request)
"""

_SEARCH = (
    """
CREATE VIRTUAL TABLE search USING fts5 (
    text, content='texts', content_rowid='id', tokenize='unicode61 remove_diacritics 2'
)""",
    """
CREATE TRIGGER texts_added AFTER INSERT ON texts
BEGIN INSERT INTO search (rowid, text) VALUES (NEW.id, NEW.text); END""",
    """
CREATE TRIGGER texts_removed BEFORE DELETE ON texts
BEGIN INSERT INTO search (search, rowid, text) VALUES ('delete', OLD.id, OLD.text); END""",
)


def _time(column: str) -> str:
    return f"strftime('%Y-%m-%dT%H:%M:%SZ', {column} / 1000000000, 'unixepoch')"


_VIEWS = {
    "sessions": f"""
SELECT o.id, o.key,
  (SELECT session_id FROM labels b WHERE b.session = o.id AND b.type <> 'metadata.changed'
   ORDER BY b.version DESC LIMIT 1) AS session_id,
  o.parent, o.since, o.version, {_time("o.created_at")} AS created,
  {_time("o.updated_at")} AS updated,
  (SELECT metadata FROM lineage l JOIN labels b ON b.session = l.origin AND b.version <= l.until
   WHERE l.session = o.id AND b.type <> 'session.forked'
   ORDER BY b.version DESC LIMIT 1) AS metadata
FROM origins o WHERE o.deleted = 0""",
    "messages": f"""
SELECT id, session, version, turn, {_time("recorded_at")} AS time, kind, role, text
FROM texts WHERE kind NOT IN ('call', 'result')""",
    "history": """
SELECT l.session, m.version, m.turn, m.time, m.kind, m.role, m.text, m.session AS origin
FROM lineage l JOIN messages m ON m.session = l.origin AND m.version <= l.until""",
    "turns": f"""
SELECT s.session, s.version AS turn, s.kind, coalesce(e.status, 'open') AS status,
  e.error, e.reason, {_time("s.recorded_at")} AS started, {_time("e.recorded_at")} AS ended,
  (e.recorded_at - s.recorded_at) / 1e9 AS seconds, s.session AS origin
FROM starts s LEFT JOIN ends e ON e.session = s.session AND e.version = (
  SELECT max(version) FROM ends WHERE session = s.session AND turn = s.version)
UNION ALL
SELECT e.session, e.turn, s.kind, e.status, e.error, e.reason, {_time("s.recorded_at")},
  {_time("e.recorded_at")}, (e.recorded_at - s.recorded_at) / 1e9, s.session
FROM ends e JOIN lineage l ON l.session = e.session AND l.origin <> e.session
JOIN starts s ON s.session = l.origin AND s.version = e.turn AND s.version <= l.until
WHERE e.version = (SELECT max(version) FROM ends WHERE session = e.session AND turn = e.turn)""",
    "tool_calls": f"""
SELECT c.session, c.version, c.turn, {_time("c.recorded_at")} AS time, c.call_id, c.tool,
  c.text AS arguments, r.version AS result_version, r.text AS result, r.is_error, r.elapsed,
  c.session AS origin
FROM texts c LEFT JOIN texts r ON r.call_id = c.call_id AND r.session = c.session
  AND r.kind = 'result'
WHERE c.kind = 'call'
UNION ALL
SELECT r.session, c.version, c.turn, {_time("c.recorded_at")}, c.call_id, c.tool, c.text,
  r.version, r.text, r.is_error, r.elapsed, c.session
FROM texts r JOIN lineage l ON l.session = r.session AND l.origin <> r.session
JOIN texts c ON c.call_id = r.call_id AND c.session = l.origin AND c.version <= l.until
  AND c.kind = 'call'
WHERE r.kind = 'result'""",
    "model_calls": f"""
SELECT r.session, r.version, r.turn, {_time("r.recorded_at")} AS time, r.step, r.attempt,
  r.provider, r.api, coalesce(a.model, r.model) AS model, a.version AS answer_version,
  CASE WHEN a.version IS NULL THEN 'open' WHEN a.error IS NULL THEN 'responded'
    ELSE 'failed' END AS status,
  a.error, a.finish_reason, a.elapsed, a.input_tokens, a.output_tokens, a.cached_tokens,
  a.cache_write_tokens, a.reasoning_tokens
FROM requests r LEFT JOIN answers a ON a.session = r.session AND a.request = r.version""",
    "usage": """
SELECT substr(time, 1, 10) AS day, provider, model, count(*) AS calls,
  sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
  sum(cached_tokens) AS cached_tokens, sum(cache_write_tokens) AS cache_write_tokens,
  sum(reasoning_tokens) AS reasoning_tokens
FROM model_calls WHERE input_tokens IS NOT NULL GROUP BY 1, 2, 3""",
}


def create(connection: sqlite3.Connection) -> None:
    """Make everything, inside the caller's ``BEGIN IMMEDIATE``."""
    from sqlite_utils import Database  # noqa: PLC0415 - slow to import

    db = Database(connection, execute_plugins=False)
    for name, columns in _COLUMNS.items():
        key = _KEYS.get(name, "position")
        db.table(name).create(columns, pk=key, strict=True)
    for statement in (*_INDEXES.split(";"), *_SEARCH):
        connection.execute(statement)
    for name, query in _VIEWS.items():
        db.create_view(name, query)
    connection.execute(
        "INSERT INTO progress (schema, position, hash, unclean) VALUES (?, 0, x'', 0)", (VERSION,)
    )


def drop(connection: sqlite3.Connection) -> None:
    """Remove everything that any version made, and nothing else."""
    for name in reversed(_VIEWS):
        connection.execute(f"DROP VIEW IF EXISTS {name}")
    for name in ("search", *reversed(_COLUMNS)):
        connection.execute(f"DROP TABLE IF EXISTS {name}")
