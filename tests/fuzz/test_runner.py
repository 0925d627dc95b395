import subprocess
import sys
import threading
from pathlib import Path
from random import Random

import pytest

from tests.fuzz import command, runner
from tests.fuzz.corpus import STREAMS
from tests.fuzz.mutators import change, mutate
from tests.fuzz.runner import Target, TooSlow, case, run, save, shrink
from tests.fuzz.targets import NAMES

ROOT = Path(__file__).resolve().parents[2]

MAKING = """
import zlib
from tests.fuzz.runner import case
from tests.fuzz.targets import NAMES, target
for name in NAMES:
    print(name, *(zlib.crc32(case(target(name), 1, number)) for number in range(20)))
"""


class Planted(Target):
    """A target with a bug: it does not take every byte."""

    name = "planted"

    def make(self, rng: Random) -> bytes:
        """Any bytes."""
        return rng.randbytes(40)

    def check(self, body: bytes) -> str:
        """Raise, hang or gorge for some."""
        if b"\xff" in body:
            raise KeyError(body)
        if b"\xfe" in body:
            while True:
                pass
        if b"\xfd" in body:
            return f"{len(bytes(50_000_000)):,}"
        return "ok"


class Raising(Planted):
    """Only the bug that raises."""

    def check(self, body: bytes) -> str:
        """Raise for some."""
        return super().check(body.replace(b"\xfe", b"").replace(b"\xfd", b""))


def test_a_case_is_its_seed_target_and_number() -> None:
    """The same three make the same input, whatever was tried before; any other makes another."""
    again = [case(Planted(), 7, number) for number in (5, 3, 5)]
    assert again[0] == again[2]
    assert len({*again, case(Planted(), 8, 5), case(Raising(), 7, 5)}) == 3


def test_a_case_is_the_same_in_every_process() -> None:
    """What the targets begin with does not depend on time, chance or threads."""
    printed = {
        subprocess.run(
            [sys.executable, "-c", MAKING], check=True, capture_output=True, text=True, cwd=ROOT
        ).stdout
        for _ in range(2)
    }
    assert len(printed) == 1
    assert [line.split()[0] for line in printed.pop().splitlines()] == list(NAMES)


def test_findings_are_counted_and_shrunk() -> None:
    """What is raised is told by class and place; of its inputs the smallest is kept."""
    tally = run(Raising(), 1, range(200))
    (finding,) = tally.findings.values()
    assert finding.kind.startswith("KeyError in test_runner.py:")
    assert finding.body == b"\xff"
    assert "KeyError" in finding.trace
    assert tally.outcomes["ok"] + tally.outcomes[f"FOUND {finding.kind}"] == 200
    assert tally.outcomes["ok"] > 0


def test_a_hang_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """A case that does not end is ended, and shrunk like any other."""
    monkeypatch.setattr(runner, "CPU_SECONDS", 0.05)

    class Hanging(Planted):
        def make(self, rng: Random) -> bytes:
            return b"ab\xfecd"

    (finding,) = run(Hanging(), 1, range(1, 2)).findings.values()
    assert finding.kind.startswith("TooSlow")
    assert finding.body == b"\xfe"


def test_waiting_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A case that waits for ever uses no CPU, and is ended all the same."""
    monkeypatch.setattr(runner, "WALL_SECONDS", 0.05)
    with pytest.raises(TooSlow), runner.bounded():
        threading.Event().wait()


def test_a_case_that_takes_too_much_memory_is_a_finding() -> None:
    """What is allocated is measured against the size of the input."""

    class Gorging(Planted):
        def make(self, rng: Random) -> bytes:
            return b"\xfd"

    (finding,) = run(Gorging(), 1, range(1)).findings.values()
    assert finding.kind.startswith("TooMuchMemory")


def test_findings_are_saved_for_another_time(tmp_path: Path) -> None:
    """The file holds the input, and its name begins with the target's."""
    (finding,) = run(Raising(), 1, range(50)).findings.values()
    path = save(finding, "sse", tmp_path / "new")
    assert path.name.startswith("sse.KeyError-in-test")
    assert path.read_bytes() == b"\xff"


def test_shrinking_keeps_the_kind() -> None:
    """An input that fails in another way is no smaller version of it."""
    body = b"a" * 100 + b"\xff" + b"b" * 100
    assert shrink(Raising(), body, "another") == body


def test_mutations_say_much_in_many_ways() -> None:
    """Few cases are alike, and few are as they were."""
    rng = Random(1)
    made = [mutate(rng, STREAMS) for _ in range(500)]
    assert len(set(made)) > 450
    assert sum(body in STREAMS for body in made) < 25


def test_changed_json_holds_keys_twice_and_numbers_that_no_float_holds() -> None:
    """What a Python value cannot say is written as text."""
    rng = Random(1)
    made = [change(rng, {"a": 1, "b": {"c": "d"}}) for _ in range(500)]
    assert any(text.count('"a":') == 2 for text in made)
    assert any("1e999" in text for text in made)


# The command


def test_the_command_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """It prints the seed, and for each target how many cases had which outcome."""
    options = [
        "--seed",
        "7",
        "--target",
        "sse",
        "--target",
        "output",
        "--cases",
        "40",
        "--jobs",
        "1",
    ]
    assert command.main(options) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("seed 7\nsse: 40 cases in ")
    counts = [int(line.split()[0]) for line in printed.splitlines() if line.startswith("   ")]
    assert sum(counts) == 80


def test_the_command_tries_a_saved_input_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The target is in the name of the file."""
    path = tmp_path / "sse.KeyError-in-x"
    path.write_bytes(b"data: 1\n\n")
    assert command.main(["--again", str(path)]) == 0
    assert capsys.readouterr().out == "sse: 1 events\n"
