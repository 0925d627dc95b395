"""Damage a log file or an export at random, and see that verification finds and places it."""

import copy
import json
import shutil
import tempfile
from pathlib import Path
from random import Random
from typing import Any

from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.errors import StoreError
from agent.eventstore.findings import Finding
from agent.eventstore.notes import SigningKey
from agent.eventstore.signing import sign_log, verify_signed_log
from agent.eventstore.verify import verify_export, verify_log
from tests.eventstore.damaged import cut, damage, made
from tests.eventstore.exports import exported

TRIALS = 1000
KEY = SigningKey("example.com/log", bytes(32))


def main(seed: int, count: int | None) -> bool:
    """Run the trials; returns whether all damage was found."""
    random, count = Random(seed), count or TRIALS
    with tempfile.TemporaryDirectory() as directory:
        missed = [m for n in range(count) if (m := trial(Path(directory), n, random))]
    print(f"verify: {count - len(missed)} of {count} found", *missed, sep="\n  ")
    return not missed


def trial(directory: Path, number: int, random: Random) -> str | None:
    """Damage something once; None if it was found and named, else what was missed."""
    match number % 10:
        case 3 | 6:
            return _file(directory, random, signed=True)
        case 9:
            return _file(directory, random, signed=True, tail=True)
        case 4 | 8:
            return _export(random)
        case _:
            return _file(directory, random, signed=False)


def _file(directory: Path, random: Random, *, signed: bool, tail: bool = False) -> str | None:
    whole, path = directory / "whole.db", directory / "damaged.db"
    if not whole.exists():
        made(whole)
        log = SQLiteLog(whole, durability="os")
        (directory / "note").write_text(sign_log(log, KEY))
        log.close()
    for leftover in directory.glob("damaged.db*"):
        leftover.unlink()
    shutil.copy(whole, path)
    done = cut(path, random) if tail else damage(path, random, signed=signed)
    log = SQLiteLog(path, durability="os")
    try:
        if signed:
            note = (directory / "note").read_text()
            findings = verify_signed_log(log, note, KEY.verifying, level="full").findings
        else:
            findings = verify_log(log, level="full").findings
    finally:
        log.close()
    # Of an order that was changed, and of nothing else, only the root of the note tells.
    placed = done.named_by(findings) or (done.column == "position" and signed and findings)
    return None if placed else f"{done}: {findings}"


def _export(random: Random) -> str | None:
    whole = exported()
    text = bytearray(json.dumps(whole).encode())
    place = random.randrange(len(text))
    text[place] ^= 1 << random.randrange(8)
    try:
        data = json.loads(text.decode())
    except ValueError:
        return None  # no JSON any more: found by whoever reads it
    if data == whole:
        return None  # a space became another, or a letter its escape: the same data
    try:
        findings = verify_export(copy.deepcopy(data)).findings
    except StoreError as error:
        return f"byte {place}: {error!r}"
    return None if _named(whole, data, findings) else f"byte {place}: {findings}"


def _named(whole: dict[str, Any], data: dict[str, Any], findings: list[Finding]) -> bool:
    """Whether a finding is about the event that was changed, if it was one."""
    events = data.get("events")
    if not isinstance(events, list) or len(events) != len(whole["events"]):
        return bool(findings)
    pairs = zip(whole["events"], events, strict=True)
    changed = {number for number, (old, new) in enumerate(pairs, 1) if old != new}
    names = changed | {new.get("version") for number in changed if (new := events[number - 1])}
    return any(not changed or one.version in names for one in findings)
