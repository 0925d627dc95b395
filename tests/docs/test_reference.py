"""The reference names everything that there is."""

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from agent import errors
from agent.engine.errors import ConfigurationError
from agent.engine.provider import Prompt
from agent.engine.providers import protocol_of
from agent.engine.providers.vendors import VENDORS
from agent.eventstore.events import EVENTS
from agent.eventstore.messages import Part
from agent.eventstore.values import Settings
from agent.tools.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/events.md").read_text()
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def _rows(text: str) -> list[str]:
    """The rows of the tables whose header begins with `what`, without the header."""
    tables = re.findall(r"^\| what .*\n\|-.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [row for table in tables for row in table.splitlines()]


FAILURES = _rows((ROOT / "docs/when-things-go-wrong.md").read_text())
PROMISES = _rows((ROOT / "docs/reliability.md").read_text())


def _row(tag: str) -> str:
    found = re.search(rf"^\| `{re.escape(tag)}` \|.*$", PAGE, re.MULTILINE)
    assert found, f"docs/events.md has no row for {tag}"
    return found.group()


@pytest.mark.parametrize("tag", sorted(EVENTS))
def test_every_event_is_described_with_its_fields(tag: str) -> None:
    """The event reference has a row for each type, with exactly its fields."""
    fields = _row(tag).split("|")[2]
    assert re.findall(r"`(\w+)`", fields) == list(EVENTS[tag].__struct_fields__)


@pytest.mark.parametrize("part", get_args(Part), ids=lambda part: part.__struct_config__.tag)
def test_every_part_is_described_with_its_fields(part: type) -> None:
    """The event reference has a row for each kind of part, with its fields."""
    own = [name for name in part.__struct_fields__ if name != "opaque"]
    assert re.findall(r"`(\w+)`", _row(part.__struct_config__.tag).split("|")[2]) == own


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    """A link from one page to another names a file that exists."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_readme_leads_to_every_page() -> None:
    """Whoever begins at the README finds each page of the documentation."""
    linked = re.findall(r"\]\((docs/[^)#]+)", (ROOT / "README.md").read_text())
    pages = {page.relative_to(ROOT).as_posix() for page in ROOT.glob("docs/*.md")}
    assert sorted(pages - set(linked)) == []


@pytest.mark.parametrize("row", [*FAILURES, *PROMISES], ids=lambda row: row.split("|")[1].strip())
def test_every_row_names_the_test_that_shows_it(row: str) -> None:
    """The last column of each row holds tests that exist: `engine/test_tools.py::test_name`."""
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", row.split("|")[-2])
    assert named
    missing = [
        f"{file}::{test}"
        for file, test in named
        if f"def {test}(" not in (ROOT / "tests" / file).read_text()
    ]
    assert missing == []


def test_every_error_is_in_the_tables() -> None:
    """Each class that a user can catch is what some row ends in, or the parent of one."""
    named = set(re.findall(r"`(\w+)`", "\n".join(row.split("|")[2] for row in FAILURES)))
    classes = [getattr(errors, name) for name in errors.__all__]
    parents = {parent for cls in classes for parent in cls.__mro__[1:]}
    leaves = {cls.__name__ for cls in classes if cls not in parents}
    assert sorted(leaves - named) == []


PROVIDERS = (ROOT / "docs/providers.md").read_text()


def test_every_provider_is_described_as_it_is() -> None:
    """The table of providers is the table in the code."""
    rows = [
        f"| `{vendor.name}` | `{vendor.api}` | `{vendor.key_variable}` | "
        f"{f'`{vendor.base_url}`' if vendor.base_url else 'yours'} | `{vendor.url_variable}` |"
        for vendor in VENDORS.values()
    ]
    table = re.search(r"^\| provider \|.*\n\|-.*\n((?:\|.*\n)+)", PROVIDERS, re.MULTILINE)
    assert table
    assert table[1].splitlines() == sorted(rows)


def test_every_protocol_is_described() -> None:
    """What each protocol does stands in one row."""
    table = re.search(r"^\| protocol \|.*\n\|-.*\n((?:\|.*\n)+)", PROVIDERS, re.MULTILINE)
    assert table
    described = re.findall(r"^\| `(\w+)` \|", table[1], re.MULTILINE)
    assert sorted(described) == sorted({vendor.api for vendor in VENDORS.values()})


SETTINGS: dict[str, object] = {
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 5,
    "max_tokens": 2000,
    "stop": ("a",),
    "seed": 1,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.1,
    "reasoning_effort": "low",
    "reasoning_budget": 1024,
    "show_reasoning": True,
    "verbosity": "low",
    "service_tier": "flex",
    "prompt_cache": "5m",
}


def _takes(api: str, name: str) -> str:
    """Whether the providers of a protocol take a setting."""
    answers: set[bool] = set()
    for vendor in VENDORS.values():
        if vendor.api == api:
            made, _ = protocol_of(vendor.name)
            provider = made(vendor, base_url=vendor.base_url or vendor.example)
            settings = msgspec.structs.replace(Settings(), **{name: SETTINGS[name]})
            try:
                provider.encode_frame(Prompt("m", None, (), settings, None, stream=False))
            except ConfigurationError:
                answers.add(False)
            else:
                answers.add(True)
    return "some servers" if len(answers) == 2 else "yes" if answers == {True} else ""


def test_every_setting_is_described_as_it_is() -> None:
    """Which protocol takes which setting is what its encoder says."""
    table = re.search(r"^\| setting \|(.*)\n\|-.*\n((?:\|.*\n)+)", PROVIDERS, re.MULTILINE)
    assert table
    apis = re.findall(r"`(\w+)`", table[1])
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table[2].splitlines()]
    assert rows == [[f"`{name}`", *(_takes(api, name) for api in apis)] for name in SETTINGS]


def test_every_setting_is_tried() -> None:
    """The table holds all settings that protocols may say under names of their own."""
    own = {"extra", "tool_choice", "parallel_tool_calls"}
    assert {field.name for field in msgspec.structs.fields(Settings)} - own == set(SETTINGS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_section(name: str) -> None:
    """The page about the command has a row and a section for each."""
    page = (ROOT / "docs/command.md").read_text()
    sections = re.findall(r"^## (\w+)$", page, re.MULTILINE)

    assert (sections.count(name), page.count(f"\n| [`{name}`](#{name}) | ")) == (1, 1)
