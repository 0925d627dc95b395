"""The screen: where a model is talked to, by a person or by a script."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module

import click

from agent.tools.terminal import is_coloured, one_line, set_errors, visible


class Screen:
    """Where prompts and answers meet: prompts from stdin, answers to stdout, all else to stderr."""

    def __init__(self) -> None:
        self.interactive = sys.stdin.isatty()
        self._coloured = is_coloured(sys.stderr)
        self._broken_line = False
        self._thinking = False
        set_errors(sys.stdin, "surrogateescape")
        if self.interactive:
            with suppress(ImportError):
                import_module("readline")  # line editing for input(); not on every system

    def prompts(self) -> Iterator[str]:
        """What the user says, until there is no more. Ctrl-C at the prompt ends it, too."""
        while True:
            try:
                line = self._ask() if self.interactive else sys.stdin.readline()
            except KeyboardInterrupt:
                if not self.interactive:
                    raise
                line = ""
            if not line:
                break
            if line.strip():
                yield line.rstrip("\n")
        if self.interactive:
            self.notice("")

    def _ask(self) -> str:
        if not sys.stdout.isatty():
            click.echo("> ", nl=False, err=True)
            return sys.stdin.readline()
        try:
            return input("> ") + "\n"
        except EOFError:
            return ""

    def answer(self, text: str) -> None:
        """Write a piece of an answer."""
        shown = visible(text)
        if shown:
            self._end_thought()
            click.echo(shown, nl=False)
            self._broken_line = not shown.endswith("\n")

    def thought(self, text: str) -> None:
        """Show a piece of the model's reasoning to whoever is watching."""
        if self.interactive and sys.stderr.isatty():
            click.echo(self._styled(visible(text), dim=True), nl=False, err=True)
            self._thinking = True

    def _end_thought(self) -> None:
        if self._thinking:
            click.echo("\n", err=True)
        self._thinking = False

    def end_line(self) -> None:
        """End the line of an answer."""
        self._end_thought()
        if self._broken_line:
            click.echo()
        self._broken_line = False

    def gap(self) -> None:
        """Leave a line between one exchange and the next, for whoever is reading."""
        if self.interactive:
            click.echo(err=True)

    def notice(self, text: str) -> None:
        """Tell the user something that is not an answer."""
        self.end_line()
        click.echo(self._styled(visible(text), dim=True), err=True)

    def error(self, text: str) -> None:
        """Tell the user in one line what went wrong."""
        self.end_line()
        click.echo(self._styled(f"Error: {one_line(text)}", fg="red"), err=True)

    def _styled(self, text: str, *, dim: bool | None = None, fg: str | None = None) -> str:
        return click.style(text, dim=dim, fg=fg) if self._coloured and text else text
