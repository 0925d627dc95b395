"""What the contracts of import-linter in pyproject.toml cannot say."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOWER = ("engine", "eventstore", "projections", "tools")
MODULES = sorted(
    path.relative_to(ROOT)
    for folder in ("agent", *LOWER)
    for path in (ROOT / folder).glob("*.py" if folder == "agent" else "**/*.py")
)


def _imported(path: Path) -> set[str]:
    """Return the modules that a file names in its import statements."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        match node:
            case ast.Import():
                names.update(alias.name for alias in node.names)
            case ast.ImportFrom(module=str(module)):
                names.add(module)
            case _:
                pass
    return names


PLUGINS = {"tools/pytest_plugin.py": {"pytest"}}


def _declared() -> set[str]:
    """Return the run-time dependencies of pyproject.toml, extras included but for `dev`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    requirements = [
        *project["dependencies"],
        *(line for name, lines in extras.items() if name != "dev" for line in lines),
    ]
    return {_normal(re.split(r"[^\w.-]", line)[0]) for line in requirements}


def _normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


@pytest.mark.parametrize(
    "module", [m for m in MODULES if m.parts[0] in LOWER], ids=lambda m: m.as_posix()
)
def test_no_layer_imports_the_face(module):
    """A layer names the module it needs; the public face `agent` itself is above them all."""
    assert "agent" not in _imported(ROOT / module)


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.as_posix())
def test_imports_are_declared(module):
    """Shipped code imports the standard library, itself, and what pyproject.toml declares."""
    known = packages_distributions()
    foreign = {
        name.partition(".")[0] for name in _imported(ROOT / module)
    } - sys.stdlib_module_names
    host = PLUGINS.get(module.as_posix(), set[str]())  # whoever loads it has it
    distributions = {
        _normal(distribution)
        for name in foreign - {"agent"} - host
        for distribution in known.get(name, [name])
    }

    assert distributions - _declared() == set()
