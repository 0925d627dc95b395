"""``agent tree``: sessions and what was forked from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from agent.tools.completion import session_ids
from agent.tools.output import Form, fitted, output_options, width, write_json, write_lines
from agent.tools.revisions import resolve
from agent.tools.source import db_option, reading_log

if TYPE_CHECKING:
    from agent.engine.listing import SessionInfo


class Node(NamedTuple):
    """A session at its place in the tree; ``lines`` says which branches go on beside it."""

    info: SessionInfo
    lines: tuple[bool, ...]


@click.command()
@click.argument("session", shell_complete=session_ids, required=False)
@db_option
@output_options
def tree(*, session: str | None, db: Path | None, form: Form, pager: bool) -> None:
    """Show sessions and their forks as a tree.

    With SESSION only that one and what was forked from it. Each with the number of its events, and
    the version of its parent after which it is its own.

    \b
    Example:
      agent tree trip
    """  # noqa: D301 - click's mark for lines that stay as they are
    from agent.engine.listing import listed  # noqa: PLC0415 - slow to import

    with reading_log(db) as log:
        top = resolve(log, session).session if session else None
        nodes = list(_nodes(list(listed(log)), top))
        if form == "text":
            write_lines(map(_line, nodes), pager=pager)
        else:
            write_json("agent.tree/1", "sessions", map(_fields, nodes), form)


def _nodes(known: list[SessionInfo], top: str | None) -> Iterator[Node]:
    """The sessions, each before its forks, however deep they lie."""
    names = {info.key for info in known}
    forks: dict[str, list[SessionInfo]] = {}
    roots: list[SessionInfo] = []
    for info in known:
        if info.parent in names and info.parent != info.key:
            forks.setdefault(info.parent, []).append(info)
        else:
            roots.append(info)
    if top is not None:
        roots = [info for info in known if info.key == top]
    stack = [Node(info, ()) for info in reversed(roots)]
    seen: set[str] = set()
    while stack:
        node = stack.pop()
        if node.info.key in seen:
            continue
        seen.add(node.info.key)
        yield node
        stack += reversed(list(_below(node, forks.get(node.info.key, ()))))


def _below(node: Node, forks: Iterable[SessionInfo]) -> Iterator[Node]:
    found = sorted(forks, key=lambda info: (info.forked_at or 0, info.key))
    for number, info in enumerate(found, 1):
        yield Node(info, (*node.lines, number < len(found)))


def _line(node: Node) -> str:
    drawn = "".join("│  " if goes_on else "   " for goes_on in node.lines[:-1])
    if node.lines:
        drawn += "├─ " if node.lines[-1] else "└─ "
    info = node.info
    left = max(width() - len(drawn), 8)
    at = "" if info.forked_at is None else f"  from {info.parent}@{info.forked_at}"
    words = f"  DAMAGED: {info.error}" if info.error else f"@{info.version}{at}"
    name = fitted(info.key, max(left - len(words), 8) if not info.error else left)
    rest = fitted(words.strip(), max(left - len(name) - 2, 8)) if info.error else words
    return f"{drawn}{click.style(name, 'cyan')}{'  ' if info.error else ''}{rest}"


def _fields(node: Node) -> dict[str, Any]:
    info = node.info
    return {
        "session": info.key,
        "version": info.version,
        "parent": info.parent,
        "forked_at": info.forked_at,
        "depth": len(node.lines),
        "error": str(info.error) if info.error else None,
    }
