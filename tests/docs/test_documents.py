from pathlib import Path

import pytest

from tests.docs.documents import DocumentError, blocks, run_document, same_output
from tests.fakes import ChatServer

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


OWN_CODE = ROOT / "docs/your-own-provider.md"
"""Its provider ends with it."""


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            path,
            marks=[pytest.mark.unreplayed] if path == OWN_CODE else [],
            id=str(path.relative_to(ROOT)),
        )
        for path in DOCUMENTS
    ],
)
def test_document(
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    openai_env: ChatServer,
) -> None:
    """Every code block of the document runs, in order, against the fake of the API."""
    monkeypatch.chdir(tmp_path)
    run_document(path, monkeypatch)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run a document given as text."""

    def run(text: str) -> None:
        path = tmp_path / "page.md"
        path.write_text(text, encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        run_document(path, monkeypatch)

    return run


def test_blocks_share_a_namespace_and_may_await(run) -> None:
    """Names, classes and top-level awaits go on from block to block in one event loop."""
    run("""
<!-- setup
import asyncio
loops = set()
-->
```python
from dataclasses import dataclass

@dataclass
class Box:
    size: "int"

async def numbers():
    yield 1
```

1. In a list:

   ```python
   async for number in numbers():
       loops.add(asyncio.get_running_loop())
   ```

~~~python
await asyncio.sleep(0)
loops.add(asyncio.get_running_loop())
assert len(loops) == 1
assert Box(number).size == 1
assert __name__ == "__main__"
~~~
""")


def test_an_error_names_the_line(run, tmp_path: Path) -> None:
    """The traceback points into the document, and a note to the block."""
    with pytest.raises(ZeroDivisionError) as caught:
        run("# Title\n\n```python\none = 1\none / 0\n```\n")
    assert caught.traceback[-1].path == tmp_path / "page.md"
    assert caught.traceback[-1].lineno + 1 == 5
    assert caught.value.__notes__ == [f"in the block at {tmp_path / 'page.md'}:4"]


def test_an_error_in_awaiting_code_names_the_line(run, tmp_path: Path) -> None:
    """Top-level await keeps the line numbers."""
    with pytest.raises(ZeroDivisionError) as caught:
        run("```python\nimport asyncio\nawait asyncio.sleep(0)\n1 / 0\n```\n")
    assert caught.traceback[-1].lineno + 1 == 4


@pytest.mark.parametrize("fence", ["```bash", "```", "```pycon", "```Python", "```python3"])
def test_an_unknown_language_is_an_error(run, fence: str) -> None:
    """Nothing is skipped in silence."""
    with pytest.raises(DocumentError, match="nobody runs"):
        run(f"{fence}\nls\n```\n")


@pytest.mark.parametrize("opening", ["```python", "<!-- setup", "````python\n```"])
def test_a_block_without_end_is_an_error(run, opening: str) -> None:
    """A forgotten fence does not swallow the rest."""
    with pytest.raises(DocumentError, match="line 2: this block never ends"):
        run(f"\n{opening}\n1 / 0\n")


@pytest.mark.parametrize("line", ["> ```python", "- ```python", "1. ~~~", "<!-- setup x = 1 -->"])
def test_a_block_that_would_be_overlooked_is_an_error(run, line: str) -> None:
    """Quoted blocks, blocks beside a list marker and setup on one line are found."""
    with pytest.raises(DocumentError, match="line 1: start this block on a line of its own"):
        run(line)


def test_shown_blocks_are_not_run(run) -> None:
    """Text, data and bare shell lines are for the eye; so are other comments."""
    run(
        "```text\n1 / 0\n```\n```json\n{\n```\n```toml\n=\n```\n```shell\nfalse\n```\n<!-- no -->\n"
    )


def test_commands_run_and_their_output_is_compared(run) -> None:
    """Several commands, continued lines, wildcards, and the environment's own python."""
    run("""
```console
$ python -c 'import os; print(os.getcwd()); open("made", "w").close()'
/...
$ ls
made
page.md
$ echo one \\
> two
one two
$ python -c 'import sys; print(sys.prefix)' > prefix
$ printf 'a\\nb\\nc  \\n'
a
...
c
```

```shell
$ cat made
```
""")


@pytest.mark.parametrize(
    ("command", "text"),
    [("$ echo one\ntwo", "shows\none"), ("$ false", "ended with 1"), ("echo", "starts with")],
)
def test_a_command_that_differs_is_an_error(run, command: str, text: str) -> None:
    """Other output, a failing command and a transcript without prompt are found."""
    with pytest.raises(DocumentError, match=text):
        run(f"```console\n{command}\n```\n")


@pytest.mark.parametrize(
    ("output", "expected", "same"),
    [
        ("a 12 b\n", "a ... b", True),
        ("a\nb\n", "a", False),
        ("a\n\nb\n", "a\n\nb", True),
        ("a (1)", "a (2)", False),
    ],
)
def test_same_output(output: str, expected: str, same: bool) -> None:
    """Only `...` is a wildcard."""
    assert same_output(output, expected) is same


def test_blocks_know_their_lines() -> None:
    """Lines count from 1, at the first line inside."""
    found = list(blocks("a\n```python\nx\n```\n\n<!-- setup\ny\n-->\n"))
    assert [(block.line, block.source) for block in found] == [(3, "x"), (7, "y")]
