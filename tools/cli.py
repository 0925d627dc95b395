"""The command ``agent``: the list of its commands, each imported when it is called.

Start it as ``agent`` or ``python -m agent.tools.cli``. A command ``name`` is the function ``name``
of the module ``agent.tools.name``. Exit statuses are those of ``agent.tools.exits``.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from agent.eventstore.errors import AgentError
from agent.eventstore.version import library_version
from agent.tools import exits
from agent.tools.terminal import one_line, set_errors

COMMANDS = {
    "demo": "Show what a session can do; needs no key and no network.",
    "chat": "Talk to a model in a session that survives being closed.",
    "sessions": "List the sessions of a log, the last changed first.",
    "log": "Show the events of a session, the last at the end.",
    "show": "Show one event, or what the session was after it.",
    "diff": "Show what differs between two revisions.",
    "tree": "Show sessions and their forks as a tree.",
    "replay": "Replay sessions offline, and say what would be different today.",
    "fork": "Branch off a new session at a revision.",
    "rewind": "Let a session show again what it showed at a revision.",
    "erase": "Erase what events say, for good.",
    "vacuum": "Write the file anew, without what was deleted or erased.",
    "backup": "Copy a log to a new file while others write to it.",
}


class Commands(click.Group):
    """A group that knows its commands by name only, so that ``agent --help`` starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the list."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        return getattr(import_module(f"agent.tools.{cmd_name}"), cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Describe the commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def main(self, *args: Any, **extra: Any) -> Any:  # noqa: ANN401 - click's signature
        """Run to the end, also where a standard stream is closed, or takes no more."""
        with Path(os.devnull).open("r+", encoding="utf-8") as nothing:
            sys.stdin = sys.stdin or nothing
            sys.stdout = sys.stdout or nothing
            sys.stderr = sys.stderr or nothing
            try:
                return super().main(*args, **extra)
            except OSError as error:
                with suppress(OSError):
                    click.echo(f"Error: {one_line(_reason(error))}", err=True)
                # Python writes once more, as it ends, what is still in the buffers.
                for stream in (sys.stdout, sys.stderr):
                    os.dup2(nothing.fileno(), stream.fileno())
                sys.exit(1)

    def invoke(self, ctx: click.Context) -> None:
        """Run a command; what the library raises on purpose ends it with one line, no traceback."""
        try:
            super().invoke(ctx)
            sys.stdout.flush()
        except KeyboardInterrupt:
            ctx.exit(exits.INTERRUPTED)
        except BrokenPipeError:
            _leave_quietly()
            ctx.exit(exits.PIPE_CLOSED)
        except AgentError as error:
            raise exits.failure(error) from error


def _leave_quietly() -> None:
    """Let Python write what is still in the buffers to nowhere, as it ends."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)


def _reason(error: OSError) -> str:
    return f"{error.filename or 'input or output failed'}: {error.strerror or error}"


def _show_version(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's call
    if wanted and not ctx.resilient_parsing:
        click.echo(f"agent-sessions {library_version()}")
        ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Conversations with language models, kept as logs of events."""
    for stream in (sys.stdout, sys.stderr):
        set_errors(stream, "replace")


if __name__ == "__main__":
    main(prog_name="agent")
