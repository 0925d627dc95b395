"""Run the code blocks of a Markdown document, in order, as one program.

`python` blocks share one namespace and may await at the top level. `console` blocks, and `shell`
blocks that start with `$ `, run their commands and compare the output shown below each, in which
`...` stands for anything. Other `shell` blocks only show a command. `text`, `json` and `toml` are
not run. `<!-- setup` ... `-->` is a python block that readers do not see. Any other language,
and a block that never ends, is an error.
"""

import ast
import asyncio
import gc
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

SHOWN = {"text", "json", "toml"}
FENCE = re.compile(r"(?P<indent>[ \t]*)(?P<ticks>`{3,}|~{3,})\s*(?P<language>\S*)")
SETUP = re.compile(r"(?P<indent>[ \t]*)<!--\s*setup\s*$")
UNSEEN = re.compile(r"\s*(<!--\s*setup\b|([>*+-]|\d+[.)])[\s>]*(```|~~~))")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
TIMEOUT = 120


class DocumentError(Exception):
    """A document that cannot be run as it stands, or a command that shows something else."""


@dataclass(frozen=True)
class Block:
    """A block of a document; `line` is the number of its first inner line, from 1."""

    language: str
    line: int
    source: str


def blocks(text: str) -> Iterator[Block]:
    """Yield the fenced blocks and the setup comments of a document."""
    lines = enumerate(text.splitlines(), start=1)
    for number, line in lines:
        fence, setup = FENCE.match(line), SETUP.match(line)
        opening = fence or setup
        if opening is None:
            if UNSEEN.match(line):
                raise DocumentError(f"line {number}: start this block on a line of its own")
            continue
        inner: list[str] = []
        for _, following in lines:
            if fence and re.fullmatch(rf"\s*{fence['ticks']}{fence['ticks'][0]}*\s*", following):
                break
            if setup and following.strip() == "-->":
                break
            inner.append(following.removeprefix(opening["indent"]))
        else:
            raise DocumentError(f"line {number}: this block never ends")
        yield Block(fence["language"] if fence else "python", number + 1, "\n".join(inner))


def run_document(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every block; an error carries a note with the line of the block."""
    program = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", program)
    with asyncio.Runner() as runner:
        for block in blocks(path.read_text(encoding="utf-8")):
            try:
                _run_block(block, path, program, runner)
            except BaseException as error:
                error.add_note(f"in the block at {path}:{block.line}")
                raise
    program.__dict__.clear()
    gc.collect()  # what the document left open is reported in its own test


def _run_block(block: Block, path: Path, program: ModuleType, runner: asyncio.Runner) -> None:
    if block.language == "python":
        _run_python(block, path, program, runner)
    elif block.language == "console" or (
        block.language == "shell" and block.source.startswith("$ ")
    ):
        _run_console(block)
    elif block.language not in SHOWN | {"shell"}:
        raise DocumentError(f"nobody runs {block.language or 'a block without a language'}")


def _run_python(block: Block, path: Path, program: ModuleType, runner: asyncio.Runner) -> None:
    source = "\n" * (block.line - 1) + block.source
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(source, str(path), "exec", flags=flags, dont_inherit=True)
    result = eval(code, program.__dict__)
    if inspect.iscoroutine(result):
        runner.run(result)


def _run_console(block: Block) -> None:
    for line, command, expected in _commands(block):
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "100",
            "NO_COLOR": "1",
        }
        done = subprocess.run(
            ["bash", "-c", command],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        output = COLOUR.sub("", done.stdout)
        if done.returncode:
            raise DocumentError(f"line {line}: `{command}` ended with {done.returncode}:\n{output}")
        if expected and not same_output(output, expected):
            raise DocumentError(f"line {line}: `{command}` shows\n{output}\ninstead of\n{expected}")


def _commands(block: Block) -> Iterator[tuple[int, str, str]]:
    """Yield the line, the command and the output of each `$ `; `> ` continues a command."""
    if not block.source.startswith("$ "):
        raise DocumentError("a console block starts with `$ `")
    starts = [match.start() for match in re.finditer(r"^\$ ", block.source, re.MULTILINE)]
    for start, end in zip(starts, [*starts[1:], len(block.source)], strict=True):
        first, *rest = block.source[start + 2 : end].rstrip("\n").split("\n")
        command = [first]
        while rest and (command[-1].endswith("\\") or rest[0].startswith("> ")):
            command.append(rest.pop(0).removeprefix("> "))
        line = block.line + block.source.count("\n", 0, start)
        yield line, "\n".join(command), "\n".join(rest)


def same_output(output: str, expected: str) -> bool:
    """Compare line by line without trailing spaces; `...` matches anything."""
    plain = "\n".join(line.rstrip() for line in output.strip("\n").splitlines())
    wanted = "\n".join(line.rstrip() for line in expected.strip("\n").splitlines())
    pattern = re.escape(wanted).replace(re.escape("..."), ".*")
    return re.fullmatch(pattern, plain, re.DOTALL) is not None
