from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("folder", ["engine", "eventstore", "projections", "tools"])
def test_link(folder):
    """Each folder is linked into `agent` by a relative link, which any clone can follow."""
    link = ROOT / "agent" / folder

    assert link.is_symlink(), "not a link: CONTRIBUTING.md says how to check links out on Windows"
    assert link.readlink() == Path("..") / folder
    assert link.resolve() == ROOT / folder
