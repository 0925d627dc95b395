from pathlib import Path

from tests.torture.rival import DONE
from tests.torture.rivals import check, race

PROCESSES, TURNS = 4, 20


def test_processes_take_turns_on_one_session(tmp_path: Path):
    """Nothing is lost or interleaved, and every loser is told."""
    path, keys = tmp_path / "log.db", ["s"] * PROCESSES

    outcomes = race("session", path, keys, TURNS, thinking=5).outcomes

    assert set(outcomes.values()) - {DONE, "ConflictError"} == {"OwnerAlive"}
    assert list(outcomes.values()).count(DONE) == PROCESSES * TURNS
    check(path, keys, outcomes)


def test_processes_take_turns_on_their_own_sessions(tmp_path: Path):
    """Nobody loses against anybody."""
    path, keys = tmp_path / "log.db", [str(number) for number in range(PROCESSES)]

    outcomes = race("session", path, keys, TURNS).outcomes

    assert list(outcomes.values()) == [DONE] * PROCESSES * TURNS
    check(path, keys, outcomes)
