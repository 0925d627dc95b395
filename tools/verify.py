"""``agent verify``: whether what is stored is intact."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from agent.eventstore.findings import LEVELS, Finding, Level, Verification
from agent.eventstore.verify import verify_export
from agent.tools import exits
from agent.tools.bar import bar, walk
from agent.tools.completion import session_ids
from agent.tools.output import Form, output_options, write_json, write_lines
from agent.tools.revisions import resolve
from agent.tools.source import db_option, reading
from agent.tools.terminal import clipped, one_line

if TYPE_CHECKING:
    from agent.eventstore.notes import VerifyingKey

_EXPORTS = {".json", ".jsonl"}
_HASH = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{20,}\b")


class Check(NamedTuple):
    """What was checked, and what came of it."""

    what: str
    name: str | None
    result: Verification


class Head(NamedTuple):
    """A signed head, and who signed it."""

    note: str
    key: VerifyingKey
    session: str | None


@click.command()
@click.argument("names", shell_complete=session_ids, nargs=-1, metavar="[SESSION|FILE]...")
@db_option
@click.option("--all", "everything", is_flag=True, help="The whole log; so it is by default.")
@click.option("--level", type=click.Choice(LEVELS), default="chain", show_default=True)
@click.option("--head", "note", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--key", metavar="KEY|FILE", help="The public key of --head, or a file with it.")
@output_options
def verify(
    *,
    names: tuple[str, ...],
    db: Path | None,
    everything: bool,
    level: Level,
    note: Path | None,
    key: str | None,
    form: Form,
    pager: bool,
) -> None:
    """Check that a log, sessions or exports are intact.

    The whole log, or what is named: sessions, and files of exports by their ending .json or
    .jsonl. "heads" looks at versions and positions, "chain" recomputes all hashes, "full" decodes
    and reads everything, the tables beside the log included. --head holds all that against a note
    of agent sign: only that shows a cut end, and what was written anew. Each line names a place;
    the exit status is 3 if there is any.

    \b
    Examples:
      agent verify --level full
      agent verify --head heads.txt --key log.pub
    """  # noqa: D301 - click's mark for lines that stay as they are
    if everything and names:
        raise click.UsageError("--all is without names")
    if (note is None) != (key is None):
        raise click.UsageError("--head and --key belong together")
    head = _head(note, key) if note is not None and key is not None else None
    checks = list(_checks(names, db, level, head))
    if form == "text":
        write_lines(_lines(checks), pager=pager)
    else:
        write_json("agent.verify/1", "checks", map(_fields, checks), form)
    if not all(check.result.ok for check in checks):
        sys.exit(exits.DAMAGED)


def _head(note: Path, key: str) -> Head:
    from agent.eventstore.checkpoints import read, stream_of  # noqa: PLC0415 - slow to import
    from agent.eventstore.notes import VerifyingKey  # noqa: PLC0415

    if Path(key).is_file():
        key = Path(key).read_text(encoding="utf-8", errors="replace")
    verifying = VerifyingKey.parse(key.strip())
    text = note.read_text(encoding="utf-8", errors="replace")
    try:
        origin = read(verifying.open(text)).origin
    except ModuleNotFoundError as error:
        raise click.ClickException(str(error)) from error
    return Head(text, verifying, stream_of(verifying.name, origin))


def _checks(
    names: tuple[str, ...], db: Path | None, level: Level, head: Head | None
) -> Iterator[Check]:
    files = [name for name in names if Path(name).suffix in _EXPORTS and Path(name).is_file()]
    for name in files:
        yield Check("export", name, _of_export(name, level, head))
    sessions = [name for name in names if name not in files]
    if head is not None and head.session is not None and not names:
        sessions = [head.session]
    if sessions:
        yield from _of_sessions(sessions, db, level, head)
    elif not files:
        yield Check("log", None, _of_log(db, level, head))


def _of_log(db: Path | None, level: Level, head: Head | None) -> Verification:
    from agent.eventstore.signing import verify_signed_log  # noqa: PLC0415 - slow to import

    with reading(db) as store, walk(store.log, "checking") as progress:
        if head is None:
            return store.verify(level=level, progress=progress)
        found = verify_signed_log(store.log, head.note, head.key, level=level, progress=progress)
        return store.with_tables(found) if level == "full" else found


def _of_sessions(
    names: list[str], db: Path | None, level: Level, head: Head | None
) -> Iterator[Check]:
    from agent.eventstore.signing import verify_signed_stream  # noqa: PLC0415 - slow to import
    from agent.eventstore.verify import verify_stream  # noqa: PLC0415

    with reading(db) as store:
        for name in names:
            known = head is not None and name == head.session
            stream = name if known else resolve(store.log, name).session
            if head is None:
                result = verify_stream(store.log, stream, level=level)
            else:
                result = verify_signed_stream(store.log, stream, head.note, head.key, level=level)
            yield Check("session", stream, result)


def _of_export(name: str, level: Level, head: Head | None) -> Verification:
    from agent.eventstore.signing import verify_signed_export  # noqa: PLC0415 - slow to import

    if Path(name).suffix == ".jsonl":
        return _of_lines(name, level, head)
    try:
        data = json.loads(Path(name).read_bytes())
    except ValueError as error:
        raise exits.Damaged(one_line(f"{name} is no JSON: {error}")) from error
    if head is None:
        return verify_export(data, level=level)
    return verify_signed_export(data, head.session or "", head.note, head.key)


def _of_lines(name: str, level: Level, head: Head | None) -> Verification:
    from agent.eventstore.jsonl.checking import verify_jsonl  # noqa: PLC0415 - slow to import

    if head is not None:
        raise click.UsageError(f"{name}: import it, to hold it against a signed head")
    with bar("checking") as progress:
        return verify_jsonl(name, level=level, progress=progress)


def _fields(check: Check) -> dict[str, Any]:
    result = check.result
    head = result.head
    return {
        "what": check.what,
        "name": check.name,
        "ok": result.ok,
        "level": result.level,
        "sessions": result.streams,
        "events": result.events,
        "attachments": result.attachments,
        "rows": result.rows,
        "head": None if head is None else {"version": head.version, "hash": head.hash.hex()},
        "findings": [
            {
                "session": found.stream or None,
                "version": found.version,
                "position": found.position,
                "line": found.line,
                "reason": found.reason,
                "expected": found.expected,
                "actual": found.actual,
            }
            for found in result.findings
        ],
        "omitted": result.omitted,
        "unread": result.unread,
        "unlinked": result.unlinked,
        "unwitnessed": result.unwitnessed,
        "deleted": result.deleted,
    }


def _lines(checks: list[Check]) -> Iterator[str]:
    for check in checks:
        name = f"{one_line(check.name)}: " if check.name else ""
        for found in check.result.findings:
            before = name if check.what == "export" else ""
            yield f"{before}{click.style(_place(found), 'cyan')}{_what(found)}"
        yield f"{name}{_summary(check.result)}"


def _place(found: Finding) -> str:
    """Where it is, as far as that is known."""
    session = one_line(found.stream)
    version = f"{session}@{found.version}" if found.version else session
    position = f"position {found.position}" if found.position else ""
    line = f"line {found.line}" if found.line else ""
    place = ", ".join(filter(None, (version, position, line)))
    return f"{place}: " if place else ""


def _what(found: Finding) -> str:
    reason = clipped(found.reason, 300)
    if not found.expected and not found.actual:
        return reason
    expected, actual = (
        clipped(_HASH.sub(r"\1…", text), 60) for text in (found.expected, found.actual)
    )
    return (
        f"{reason}: {expected} expected, {actual or 'nothing'} found"
        if actual
        else f"{reason}: {expected}"
    )


def _summary(result: Verification) -> str:
    counted = [
        _counted(result.streams, "session"),
        _counted(result.events, "event"),
        _counted(result.attachments, "attachment") if result.attachments else "",
        _counted(result.rows, "row of tables", "rows of tables") if result.rows else "",
        f"{result.unread} of a later release" if result.unread else "",
        f"{result.unlinked} with nothing left to follow" if result.unlinked else "",
    ]
    if result.unwitnessed:
        counted.append(f"{result.unwitnessed} erased, and no event says so")
    words = ", ".join(filter(None, counted))
    if result.deleted:
        names = one_line(", ".join(result.deleted))
        words += f"; deleted since it was signed, and proven no more: {names}"
    if result.ok:
        return f"{click.style('intact', 'green')}: {words}"
    number = _counted(len(result.findings) + result.omitted, "finding")
    omitted = f", {result.omitted} of them not shown" if result.omitted else ""
    return f"{click.style('DAMAGED', 'red')}: {number}{omitted}, in {words}"


def _counted(number: int, noun: str, nouns: str = "") -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {nouns or noun + 's'}"
