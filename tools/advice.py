"""What to do about an error of the library from the command line."""

from __future__ import annotations

import shlex

from agent.engine.errors import (
    ApprovalPending,
    ConnectionFailed,
    MissingAPIKey,
    ModelNotFound,
    NoRecordedResult,
    NothingUnfinished,
    NotPending,
    OutcomeUnknown,
    OwnerAlive,
    TurnOpen,
)
from agent.eventstore.errors import AgentError, InvalidEvent


def advice(error: AgentError) -> str:
    """The error in words, and the command that helps, where there is one."""
    match error:
        case MissingAPIKey():
            return (
                f"{error.provider} needs a key. Set the environment variable {error.variable}, "
                "or name a server that needs none with --base-url."
            )
        case ModelNotFound():
            return f"{error} (on the command line: --model and --base-url)"
        case ConnectionFailed():
            return f"{error} (on the command line: --base-url)"
        case InvalidEvent():
            return f"this cannot be stored: {error.reason}"
        case NoRecordedResult():
            call = f"call {error.call_id} asks {error.tool}({error.arguments})"
            return f"{call}, for which no result is recorded: --app with --tools ask, or live"
        case TurnOpen() | NothingUnfinished() | NotPending():
            return _of_turn(error)
        case _:
            return str(error)


def _of_turn(error: TurnOpen | NothingUnfinished | NotPending) -> str:
    session = shlex.quote(error.session_id)
    decide = f"decide with: agent resolve {session}"
    match error:
        case OwnerAlive():
            who = f"process {error.owner.process} on {error.owner.host}"
            lives = "is" if error.certain else "may be"
            return (
                f"{who} {lives} at work in session {session}: wait for it, or take the turn from "
                "it with --takeover"
            )
        case OutcomeUnknown():
            calls = _named(error)
            return f"nobody knows whether these calls have run: {calls}; find out, and {decide}"
        case ApprovalPending():
            return f"a person has to allow these calls first: {_named(error)}; {decide}"
        case TurnOpen():
            return (
                f"session {session} has an open turn: agent resume {session} goes on with it, "
                f"agent resolve {session} --abandon closes it"
            )
        case NothingUnfinished():
            return f"session {session} has no turn to go on with"
        case NotPending():
            waiting = ", ".join(error.pending) or "no call"
            return (
                f"{error.call_id} does not wait for a person, or is not the call that was shown; "
                f"in session {session} there waits: {waiting}"
            )


def _named(error: OutcomeUnknown | ApprovalPending) -> str:
    return ", ".join(f"{call.call_id} ({call.tool})" for call in error.calls)
