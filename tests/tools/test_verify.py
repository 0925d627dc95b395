"""`agent verify` and `agent sign`."""

import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest

from agent.engine.agent import Agent
from agent.engine.scripted import ScriptedModel
from agent.engine.stores import SQLiteStore
from tests.tools.given import changed, recorded_trip, run

NAME = "example.com/trips"
TEXT = "the event does not match its hash"
GONE = "the session is missing that a signed head covers"
SHORTER = "the end is missing that a signed head covers"
OTHER = "it holds other events than a signed head covers"


@pytest.fixture(autouse=True)
def trip(db: Path) -> None:
    """A log to verify: `trip` of nine events, and `trip-osaka`, forked after the fifth."""
    recorded_trip(db)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A private key; its public half lies beside it."""
    path = tmp_path / "log.key"
    made = run("sign", "--new-key", str(path), "--name", NAME)
    assert (made.returncode, made.stderr) == (0, "")
    path.with_suffix(".pub").write_text(made.stdout)
    return path


@pytest.fixture
def note(key: Path, tmp_path: Path) -> Path:
    """A signed head of the log."""
    path = tmp_path / "heads.txt"
    done = run("sign", "--key", str(key), "-o", str(path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return path


@pytest.fixture
def export(db: Path, tmp_path: Path) -> Path:
    """`trip` as a file."""
    path = tmp_path / "trip.json"
    with SQLiteStore(db) as store:
        path.write_text(json.dumps(store.load("trip")))
    return path


def _signed(note: Path, *arguments: str) -> list[dict[str, Any]]:
    """What is found against a signed head."""
    public = note.with_name("log.pub")
    done = run("verify", *arguments, "--head", str(note), "--key", str(public), "--json")
    (check,) = json.loads(done.stdout)["checks"]
    assert (done.returncode, check["ok"]) == ((3, False) if check["findings"] else (0, True))
    return check["findings"]


def _places(findings: list[dict[str, Any]]) -> list[tuple[str, int, str]]:
    return [(found["session"], found["version"], found["reason"]) for found in findings]


def _forged(db: Path, count: int) -> None:
    """Write the events of `trip` anew after the first so many, with right hashes."""
    with SQLiteStore(db) as store:
        data = list(store.log.read("trip", until=count))
    db.unlink()
    with SQLiteStore(db) as store:
        store.log.append("trip", data, expected=None)
        Agent(ScriptedModel(["Never."] * 3), store=store).session("trip").run("Where?")


@pytest.mark.parametrize("level", ["heads", "chain", "full"])
def test_a_whole_log(level: str):
    """All is well, and what was looked at is counted."""
    done = run("verify", "--level", level)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "intact: 2 sessions, 14 events\n"


def test_each_finding_has_its_place(db: Path):
    """Session and version, position, and what is there instead of what; the status is 3."""
    changed(db, "UPDATE events SET recorded_at = 1 WHERE version IN (4, 7)")
    done = run("verify")

    lines = [line.split(": ") for line in done.stdout.splitlines()]
    assert [line[:2] for line in lines] == [
        ["trip@4, position 4", TEXT],
        ["trip@7, position 7", TEXT],
        ["trip-osaka@7, position 11", TEXT],
        ["DAMAGED", "3 findings, in 2 sessions, 14 events"],
    ]
    hashes = r"[0-9a-f]{12}… expected, [0-9a-f]{12}… found"
    assert all(re.fullmatch(hashes, line[2]) for line in lines[:3])
    assert (done.returncode, done.stderr) == (3, "")


def test_findings_as_json(db: Path):
    """Hashes are whole there."""
    changed(db, "UPDATE events SET recorded_at = 1 WHERE position = 4")
    document, line = run("verify", "--json"), run("verify", "--nl")

    (check,) = json.loads(document.stdout)["checks"]
    assert json.loads(line.stdout) == {"schema": "agent.verify/1", **check}
    (found,) = check.pop("findings")
    assert (len(found.pop("expected")), len(found.pop("actual"))) == (64, 64)
    assert found == {"session": "trip", "version": 4, "position": 4, "line": 0, "reason": TEXT}
    assert check == {
        "what": "log",
        "name": None,
        "ok": False,
        "level": "chain",
        "sessions": 2,
        "events": 14,
        "attachments": 0,
        "rows": 0,
        "head": None,
        "omitted": 0,
        "unread": 0,
        "unlinked": 0,
        "unwitnessed": 0,
        "deleted": [],
    }


def test_sessions_by_name(db: Path):
    """Each is told on its own, and may be damaged on its own."""
    changed(db, "UPDATE events SET recorded_at = 1 WHERE position = 12")
    done = run("verify", "trip", "trip-o")

    lines = done.stdout.splitlines()
    assert (done.returncode, lines[0]) == (3, "trip: intact: 1 session, 9 events")
    assert lines[1].startswith(f"trip-osaka@8, position 12: {TEXT}: ")
    assert lines[2] == "trip-osaka: DAMAGED: 1 finding, in 1 session, 10 events"


def test_an_export(export: Path, db: Path):
    """A file needs no log."""
    db.unlink()
    done = run("verify", str(export))

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{export}: intact: 1 session, 9 events\n"


def test_an_export_with_one_byte_changed(export: Path):
    """The event is named; what is no JSON any more is told as well."""
    text = export.read_text()
    export.write_text(text.replace("Sunny", "Rainy"))
    done = run("verify", str(export))
    export.write_text(text[:-1])
    cut = run("verify", str(export))

    assert (done.returncode, cut.returncode) == (3, 3)
    assert done.stdout.startswith(f"{export}: trip@4: {TEXT}: ")
    assert cut.stderr.startswith(f"Error: {export} is no JSON: ")


def test_a_file_of_lines(db: Path, tmp_path: Path):
    """Each finding has its line; a file cannot be held against a note."""
    path = tmp_path / "all.jsonl"
    with SQLiteStore(db) as store:
        store.export(path)
    whole = run("verify", str(path))
    path.write_text(path.read_text().replace("Sunny", "Rainy"))
    done = run("verify", str(path))

    assert whole.stdout == f"{path}: intact: 2 sessions, 14 events\n"
    assert (done.returncode, done.stdout.startswith(f"{path}: trip@4, ")) == (3, True)
    assert re.search(rf"line \d+: {TEXT}: ", done.stdout.splitlines()[0])


@pytest.mark.parametrize("arguments", [("verify",), ("log", "trip"), ("sessions",)])
def test_a_file_that_sqlite_cannot_read(arguments: tuple[str, ...], db: Path):
    """It is damaged, as with damaged events: the status does not say that the usage was wrong."""
    content = db.read_bytes()
    db.write_bytes(content[:100] + b"\xff" * (len(content) - 100))

    done = run(*arguments)

    assert (done.returncode, done.stdout) == (3, "")
    assert "is damaged; restore a backup of it" in done.stderr


def test_tables_beside_the_log(db: Path):
    """The highest level compares them too."""
    run("stats")
    assert run("verify", "--level", "full").stdout.endswith(" rows of tables\n")
    changed(db.with_suffix(".tables.db"), "UPDATE answers SET elapsed = 99 WHERE position = 4")
    done = run("verify", "--level", "full")

    wanted = "trip@4, position 4: tables: answers.elapsed is not what the log says: "
    assert (done.returncode, wanted in done.stdout) == (3, True)
    assert run("verify").returncode == 0


def test_a_new_key_is_for_its_owner_alone(key: Path):
    """Nobody else reads it, it is never replaced, and its public half is shown."""
    before = key.read_text()
    again = run("sign", "--new-key", str(key), "--name", NAME)

    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.with_suffix(".pub").read_text().startswith(f"{NAME}+")
    assert (again.returncode, again.stdout, key.read_text()) == (1, "", before)
    assert again.stderr == f"Error: {key} is there already, and a key is never replaced\n"


def test_a_note_is_a_checkpoint(key: Path, note: Path):
    """Name, number of events, root, the head of each session, and a signature."""
    lines = note.read_text().splitlines()

    assert (lines[0], lines[1], lines[5]) == (NAME, "14", "")
    assert [line.split()[::3] for line in lines[3:5]] == [["9", "trip"], ["14", "trip-osaka"]]
    assert lines[6].startswith(f"— {NAME} ")
    assert run("sign", "--key", str(key)).stdout.splitlines()[:5] == lines[:5]


def test_what_was_signed_and_what_came_after(note: Path, db: Path):
    """A log may grow."""
    with SQLiteStore(db) as store:
        Agent(ScriptedModel(["Yes."]), store=store).session("trip").run("Sure?")

    assert _signed(note) == []


def test_a_cut_end(note: Path, db: Path):
    """The sessions are named that lack their ends, and where they end now."""
    changed(db, "DELETE FROM events WHERE position IN (8, 9, 14)")

    assert _places(_signed(note))[-2:] == [("trip", 7, SHORTER), ("trip-osaka", 9, SHORTER)]


def test_a_session_that_is_gone(note: Path, db: Path):
    """No end of it is there to be compared."""
    changed(db, "DELETE FROM events WHERE stream = 2")
    changed(db, "DELETE FROM streams WHERE id = 2")

    assert _places(_signed(note)) == [("trip-osaka", 10, GONE)]


def test_a_session_with_another_name(note: Path, db: Path):
    """No hash covers names, a note does."""
    changed(db, "UPDATE streams SET name = 'holiday' WHERE name = 'trip'")
    (found,) = _signed(note)

    assert _places([found]) == [("trip", 9, GONE)]
    assert (found["expected"], found["actual"]) == ("trip", "holiday")


def test_a_session_that_was_written_anew(key: Path, db: Path, tmp_path: Path):
    """Right hashes do not help; the note says from where on the session may differ."""
    with SQLiteStore(db) as store:
        session = Agent(ScriptedModel(["Yes."] * 40), store=store).session("trip")
        for _ in range(30):
            session.run("Sure?")
    path = tmp_path / "long.txt"
    assert run("sign", "trip", "--key", str(key), "-o", str(path)).returncode == 0
    with SQLiteStore(db) as store:
        data = list(store.log.read("trip", until=101))
    db.unlink()
    with SQLiteStore(db) as store:
        store.log.append("trip", data, expected=None)
        session = Agent(ScriptedModel(["No."] * 40), store=store).session("trip")
        for _ in range(20):
            session.run("Sure?")
    assert run("verify").returncode == 0

    assert _places(_signed(path)) == [("trip", 65, OTHER)]


def test_what_was_deleted_since(note: Path, db: Path):
    """A deletion is in the log, and so no damage; what is left is held against the note."""
    with SQLiteStore(db) as store:
        store.delete("trip-osaka")
    public = note.with_name("log.pub")
    done = run("verify", "--head", str(note), "--key", str(public))
    changed(db, "DELETE FROM events WHERE position = 9")

    words = "deleted since it was signed, and proven no more: trip-osaka"
    assert done.stdout == f"intact: 1 session, 10 events; {words}\n"
    assert _places(_signed(note))[-1] == ("trip", 8, SHORTER)


def test_a_note_of_one_session(key: Path, export: Path, tmp_path: Path, db: Path):
    """It holds for the session, wherever it lies."""
    path = tmp_path / "trip.txt"
    run("sign", "trip", "--key", str(key), "-o", str(path))
    assert path.read_text().splitlines()[:2] == [f"{NAME}/trip", "9"]

    assert (_signed(path), _signed(path, "trip"), _signed(path, str(export))) == ([], [], [])
    with SQLiteStore(db) as store:
        data = list(store.log.read("trip", until=5))
    db.unlink()
    with SQLiteStore(db) as store:
        store.log.append("trip", data, expected=None)
    assert _places(_signed(path)) == [("trip", 5, SHORTER)]


def test_a_note_that_was_changed(note: Path):
    """It is not relied on."""
    note.write_text(note.read_text().replace("trip-osaka", "trip-tokyo"))
    public = note.with_name("log.pub")
    done = run("verify", "--head", str(note), "--key", public.read_text())

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: signed note or key: the signature of {NAME} does not")


def test_a_damaged_log_is_not_signed(key: Path, db: Path, tmp_path: Path):
    """A note says that all was well."""
    changed(db, "UPDATE events SET recorded_at = 1 WHERE position = 4")
    done = run("sign", "--key", str(key), "-o", str(tmp_path / "none.txt"))

    assert (done.returncode, done.stdout, (tmp_path / "none.txt").exists()) == (3, "", False)
    assert done.stderr.startswith(f"Error: stream 'trip', version 4: {TEXT}; restore this ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("sign",),
        ("sign", "--new-key", "a"),
        ("sign", "--key", "a", "--name", "b"),
        ("sign", "--key", "a", "--new-key", "b", "--name", "c"),
        ("verify", "--key", "a"),
        ("verify", "--all", "trip"),
        ("verify", "--level", "deep"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...]):
    """Options that belong together are asked for together."""
    done = run(*arguments)

    assert (done.returncode, done.stdout) == (2, "")


def test_a_key_that_is_none(tmp_path: Path):
    """What cannot sign is told."""
    path = tmp_path / "no.key"
    path.write_bytes(b"\xff no key")
    done = run("sign", "--key", str(path))

    words = "Error: signed note or key: a private key starts with PRIVATE+KEY+; "
    assert (done.returncode, done.stderr.startswith(words)) == (1, True)
