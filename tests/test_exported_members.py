import importlib
import inspect
import re

import pytest

import agent
import agent.errors
from agent.errors import AgentError

MODULES = [
    "agent",
    "agent.errors",
    "agent.providers",
    "agent.replay",
    "agent.stores",
    "agent.tables",
    "agent.testing",
]
FOLDERS = {
    *("engine", "eventstore", "projections", "tools"),
    *("errors", "providers", "replay", "stores", "tables", "testing"),
}


@pytest.mark.parametrize("name", MODULES)
def test_all_is_a_sorted_table_of_contents(name: str):
    """`__all__` is sorted and names nothing twice."""
    exported = importlib.import_module(name).__all__

    assert exported == sorted(set(exported), key=lambda item: item)


@pytest.mark.parametrize("name", MODULES)
def test_every_name_can_be_imported(name: str):
    """Every exported name is there, and is none of an outer library."""
    module = importlib.import_module(name)
    for exported in module.__all__:
        home = getattr(getattr(module, exported), "__module__", "agent")
        assert home.split(".")[0] in ("agent", "types", "typing")


@pytest.mark.parametrize("name", [name for name in MODULES if name != "agent"])
def test_all_equals_the_public_names(name: str):
    """What a module holds under a public name is what it exports."""
    module = importlib.import_module(name)
    public = [n for n, v in vars(module).items() if n[0] != "_" and not inspect.ismodule(v)]

    assert sorted(public) == module.__all__


def test_agent_exports_what_it_can_find():
    """Each lazily imported name has a home, and nothing else is public."""
    assert list(agent._HOMES) == agent.__all__ == dir(agent)
    assert {n for n in vars(agent) if n[0].isalpha()} - set(agent.__all__) <= FOLDERS | {
        "TYPE_CHECKING",
        "annotations",
        "import_module",
    }
    for name, home in agent._HOMES.items():
        assert getattr(agent, name) is getattr(importlib.import_module(home), name)


def test_unknown_names():
    """A name that is not exported is missing as of any module."""
    with pytest.raises(AttributeError, match="module 'agent' has no attribute 'Agnet'"):
        _ = agent.Agnet


def drawn() -> dict[str, str]:
    """Each error of the drawn tree with its parent."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in (agent.errors.__doc__ or "").splitlines():
        found = re.fullmatch(r"    ([│├└─ ]*)(\w+)", line)
        if found is None:
            continue
        depth = len(found[1]) // 4
        path[depth:] = [found[2]]
        if depth:
            parents[found[2]] = path[depth - 1]
    return parents


def test_error_tree_is_the_real_one():
    """The tree in the docstring is that of the classes, each under its own base."""
    real = {
        name: error.__bases__[0].__name__
        for name in agent.errors.__all__
        if (error := getattr(agent.errors, name)) is not AgentError
    }

    assert drawn() == real
    assert all(len(getattr(agent.errors, name).__bases__) == 1 for name in agent.errors.__all__)


def descendants(error: type[AgentError]) -> set[type[AgentError]]:
    """Every class below an error."""
    below = {sub for sub in error.__subclasses__() if sub.__module__.startswith("agent.")}
    return below.union(*map(descendants, below))


def test_every_error_is_exported():
    """Every error of the library is exported, but for those that only tests meet."""
    for module in ("agent.engine.agent", "agent.engine.scripted", "agent.stores"):
        importlib.import_module(module)
    names = {error.__name__ for error in descendants(AgentError)} | {"AgentError"}

    assert names - {"RecordedFailure", "ScriptExhausted"} == set(agent.errors.__all__)
