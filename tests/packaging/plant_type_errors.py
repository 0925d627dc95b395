"""Prove that the type checker looks into every shipped folder, and looks strictly.

Pyright passes over linked folders without a word, so "0 errors" alone proves nothing. This copies
the tree, plants one ordinary and one strict-only error in each folder, and expects to be told of
all of them. The work tree is never touched.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("agent", "engine", "eventstore", "projections", "tools")
PLANTED = "planted_by_check.py"
SOURCE = '''"""Planted."""

number: int = "not a number"


def untyped(value):
    """Strict mode alone refuses this."""
    return value
'''
RULES = {"reportAssignmentType", "reportMissingParameterType"}


def plant(tree: Path) -> None:
    """Copy what pyright reads into `tree`, with errors in every shipped folder."""
    for folder in FOLDERS:
        shutil.copytree(
            ROOT / folder,
            tree / folder,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        (tree / folder / PLANTED).write_text(SOURCE)
    shutil.copy(ROOT / "pyproject.toml", tree)
    (tree / "tests").mkdir()


def reported(tree: Path) -> dict[str, set[str]]:
    """Return the rules that pyright reports for the planted file of each folder."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    run = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    found: dict[str, set[str]] = {folder: set() for folder in FOLDERS}
    for diagnostic in json.loads(run.stdout)["generalDiagnostics"]:
        file = Path(diagnostic["file"])
        if file.name == PLANTED:
            found[file.parent.name].add(diagnostic.get("rule", ""))
    return found


def main() -> None:
    """Exit with a message if any planted error goes unreported."""
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name).resolve()
        plant(tree)
        found = reported(tree)
    missed = [f"{folder}: {rule}" for folder in FOLDERS for rule in sorted(RULES - found[folder])]
    if missed:
        sys.exit("pyright did not see what was planted in " + ", ".join(missed))
    sys.stdout.write(f"pyright sees type errors in {', '.join(FOLDERS)}\n")


if __name__ == "__main__":
    main()
