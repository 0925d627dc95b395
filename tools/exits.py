"""Exit codes: what came of a command, for scripts."""

from __future__ import annotations

import click

from agent.engine.errors import (
    ApprovalPending,
    CannotRewind,
    ConfigurationError,
    NoRequest,
    NothingUnfinished,
    NotPending,
    OutcomeUnknown,
    TurnOpen,
)
from agent.eventstore.errors import (
    AgentError,
    AttachmentMissing,
    CorruptLog,
    InvalidExport,
    NothingToErase,
    SharedEvents,
    StoreDamaged,
    StoreUnusable,
    UnknownEvent,
    UnknownStream,
)
from agent.tools.advice import advice
from agent.tools.terminal import one_line

OK = 0
DIFFERENT = 1
"""Also a failure of another kind: there is then a line on stderr that begins with ``Error``."""
USAGE = 2
DAMAGED = 3
NOT_FOUND = 4
UNDECIDED = 5
INTERRUPTED = 130
"""As a shell says of a program that Ctrl-C has ended."""
PIPE_CLOSED = 141
"""As a shell says of a program that nobody reads any more, as ``head`` does after its lines."""


class NotFound(click.ClickException):
    """What was named is not there, or could be several. Recorded names in it harm no terminal."""

    exit_code = NOT_FOUND

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class Refused(click.ClickException):
    """What was asked for cannot be done. The words may have several lines, and are harmless."""

    exit_code = USAGE


class Damaged(click.ClickException):
    """What is stored contradicts itself, or is of a later release."""

    exit_code = DAMAGED


class Undecided(click.ClickException):
    """Somebody has to decide first."""

    exit_code = UNDECIDED


_KINDS: tuple[tuple[tuple[type[AgentError], ...], type[click.ClickException]], ...] = (
    ((StoreDamaged, CorruptLog, UnknownEvent, InvalidExport), Damaged),
    (
        (
            *(UnknownStream, NoRequest, CannotRewind, AttachmentMissing, NothingToErase),
            *(NothingUnfinished, NotPending),
        ),
        NotFound,
    ),
    ((OutcomeUnknown, ApprovalPending, TurnOpen, SharedEvents), Undecided),
    ((ConfigurationError, StoreUnusable), click.UsageError),
)


def failure(error: AgentError) -> click.ClickException:
    """What the library has raised, as the line and the exit code that it ends a command with."""
    words = one_line(advice(error))
    made = (kind for errors, kind in _KINDS if isinstance(error, errors))
    return next(made, click.ClickException)(words)
