"""The built distributions: what is in them, and that a stranger's project can use them."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("engine", "eventstore", "projections", "tools")

QUICK_START = """\
import engine
import tools

from agent import Agent
from agent.testing import ScriptedModel

session = Agent(provider=ScriptedModel(["Hello."])).session()
print(session.run("Hi").text)
print(engine.OWNER, tools.OWNER)
"""


def _run(*command: str | Path, cwd: Path) -> str:
    """Run a command without this checkout on its path and return what it printed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    run = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr or run.stdout
    return run.stdout


def _build(source: Path, target: str, out: Path) -> Path:
    _run(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", out, cwd=source)
    (built,) = out.iterdir()
    return built


def _names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return sorted(archive.namelist())


def _sources(folder: str) -> list[str]:
    return [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / folder).glob("*" if folder == "agent" else "**/*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]


@pytest.fixture(name="wheel", scope="session")
def _wheel(tmp_path_factory):
    return _build(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(name="sdist", scope="session")
def _sdist(tmp_path_factory):
    return _build(ROOT, "sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(name="python", scope="session")
def _python(tmp_path_factory, wheel):
    """Return the Python of a new environment that has the wheel and can see the dependencies."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, symlinks=os.name == "posix")
    scripts = home / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / Path(sys.executable).name
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    _run(*pip, "--no-index", "--no-deps", wheel, cwd=home)
    # A path named in a .pth file is only added: the editable install of this checkout stays out.
    purelib = sysconfig.get_path("purelib", vars={"base": str(home)})
    Path(purelib, "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


@pytest.fixture(name="project")
def _project(tmp_path):
    """Return a user's project that has folders of the same names as ours."""
    for folder in FOLDERS:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").write_text('OWNER = "user"\n')
    return tmp_path


def test_wheel_holds_the_package(wheel):
    """The wheel holds `agent` with every layer inside it, its type marker, and nothing else."""
    expected = _sources("agent") + [f"agent/{name}" for f in FOLDERS for name in _sources(f)]

    code = [name for name in _names(wheel) if ".dist-info/" not in name]

    assert code == sorted(expected)
    assert "agent/py.typed" in code
    assert "agent/engine/__init__.py" in code


def test_wheel_names_the_licence(wheel):
    """The wheel carries the licence's text."""
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in _names(wheel))


def test_sdist_builds_the_same_wheel(sdist, wheel, tmp_path):
    """A wheel built from the source distribution holds the same files."""
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()

    rebuilt = _build(source, "wheel", tmp_path / "rebuilt")

    assert not (source / "tests").exists()
    assert _names(rebuilt) == _names(wheel)


def test_quick_start_beside_the_users_folders(python, project):
    """The quick start runs in a project whose own `engine` and `tools` stay importable."""
    (project / "quick_start.py").write_text(QUICK_START)

    printed = _run(python, "quick_start.py", cwd=project)

    assert printed.splitlines() == ["Hello.", "user user"]


def test_installed_package_is_the_wheel(python, project):
    """What the new environment imports is the wheel, not this checkout."""
    printed = _run(python, "-c", "import agent; print(agent.__file__)", cwd=project)

    assert Path(printed.strip()).is_relative_to(python.parents[1])


def test_command_beside_the_users_folders(python, project):
    """The `agent` command starts there too."""
    printed = _run(python.with_name("agent"), "--help", cwd=project)

    assert printed.startswith("Usage: agent")
