import subprocess
import sys

from tests.torture.recording import ROOT

KILLS = 20


def test_turns_survive_kills():
    """A process that converses is killed at any moment, and the next one goes on."""
    program = ["-m", "tests.torture", "kill", "--seed", "5", "--count", f"{KILLS}"]

    done = subprocess.run(
        [sys.executable, *program], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f"{KILLS} kills, no finding\n")
