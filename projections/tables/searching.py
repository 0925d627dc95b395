"""Full-text search: what people type, and what is found."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection

Kind = Literal[
    "system", "added", "summary", "input", "answer", "partial", "feedback", "call", "result"
]
"""What was said: a system prompt, a message by what brought it, a call's arguments, its result."""

KINDS: tuple[Kind, ...] = get_args(Kind)

_TERM = re.compile(r'"([^"]*)"(\*?)|(\S+)')

_MOST = 100
"""Words that are looked for; SQLite has limits of its own."""

_FOUND = """
SELECT t.session, t.version, t.turn, t.kind, t.tool, t.recorded_at,
  snippet(search, 0, :before, :after, '…', 16), t.role, o.key, o.deleted
FROM search JOIN texts t ON t.id = search.rowid JOIN origins o ON o.id = t.session
WHERE search MATCH :query AND t.kind IN (SELECT value FROM json_each(:kinds))
  AND (:session IS NULL OR EXISTS (
    SELECT 1 FROM lineage l JOIN origins asked ON asked.id = l.session
    WHERE asked.key = :session AND asked.deleted = 0
      AND l.origin = t.session AND t.version <= l.until))
ORDER BY search.rowid DESC LIMIT :limit"""

_HEIR = """
SELECT o.key FROM lineage l JOIN origins o ON o.id = l.session
WHERE l.origin = ? AND l.until >= ? AND o.deleted = 0 ORDER BY o.id LIMIT 1"""


class Hit(msgspec.Struct, frozen=True):
    """A place where a text was said. ``recorded_at`` is in nanoseconds since 1970, UTC.

    ``session`` is the key under which the log keeps it: of the session that said it, or of a fork
    that inherited it from one that was deleted. ``snippet`` is the text around the first words
    that were found. ``role`` is that of the message, and ``tool`` for a result.
    """

    session: str
    version: int
    turn: int | None
    kind: Kind
    tool: str | None
    recorded_at: int
    snippet: str
    role: str


def quoted(words: str) -> str:
    """What people type as a query of FTS5: words that must all be there, "phrases", prefix*.

    Nothing in it is syntax but quotes in pairs and a star at the end; "" if no word is left.
    """
    terms: list[str] = []
    typed = words.encode(errors="replace").decode().replace("\0", " ")
    for phrase, star, word in _TERM.findall(typed)[:_MOST]:
        plain = phrase or word.rstrip("*")
        prefix = star or ("*" if word.endswith("*") else "")
        if any(map(str.isalnum, plain)):
            terms.append('"' + plain.replace('"', " ") + '"' + prefix)
    return " ".join(terms)


def find(
    db: sqlite3.Connection,
    query: str,
    *,
    kinds: Collection[Kind],
    session: str | None,
    limit: int,
    marks: tuple[str, str],
) -> list[Hit]:
    """The newest places that a query of FTS5 finds."""
    if not query:
        return []
    asked = {"query": query, "kinds": json.dumps([*kinds]), "session": session, "limit": limit}
    found = db.execute(_FOUND, {**asked, "before": marks[0], "after": marks[1]})
    return [_hit(db, row, session) for row in found]


def _hit(db: sqlite3.Connection, row: tuple[Any, ...], session: str | None) -> Hit:
    origin, version, turn, kind, tool, at, snippet, role, key, deleted = row
    heir = db.execute(_HEIR, (origin, version)).fetchone() if deleted else None
    name = session or (heir[0] if heir else key)
    return Hit(name, version, turn, kind, tool, at, snippet, role)
