import os
from pathlib import Path

import pytest

from tests.torture.history import PLACES
from tests.torture.power import CONTROLS, FSYNC, OS, Kind, tried
from tests.torture.recording import obstacle

SEED = 1
IMAGES, FEWER = 80, 30


@pytest.fixture(autouse=True)
def recorder() -> None:
    """Recording takes a compiler; where CI is set a missing one is a failure."""
    if missing := obstacle():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)


def test_acknowledged_events_survive_power_cuts(tmp_path: Path):
    """With fsync, whenever the power is cut, all that was acknowledged is there, and sound."""
    tally = tried(FSYNC, SEED, IMAGES, tmp_path)

    assert tally.reasons == []
    assert set(PLACES) == set(tally.tried)


def test_what_power_cuts_leave_is_an_earlier_state(tmp_path: Path):
    """With os, whenever the power is cut, the log is whole and as it was at some time before."""
    tally = tried(OS, SEED, IMAGES, tmp_path)

    assert tally.reasons == []
    assert tally.tried.total() == IMAGES


@pytest.mark.parametrize("kind", CONTROLS, ids=lambda kind: kind.name)
def test_what_nobody_promises_is_found_missing(tmp_path: Path, kind: Kind):
    """Where SQLite or the disk leaves out an fsync, cuts lose what was acknowledged."""
    assert tried(kind, SEED, FEWER, tmp_path).reasons
