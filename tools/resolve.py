"""``agent resolve``: what a turn waits for somebody to say."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from agent.tools import exits
from agent.tools.completion import session_ids
from agent.tools.output import Form, indented, output_options, write_document, write_lines
from agent.tools.parameters import text_or_file
from agent.tools.revisions import resolve_session
from agent.tools.source import db_option, reading, session_of
from agent.tools.terminal import is_coloured, one_line

if TYPE_CHECKING:
    from agent.engine.session import Session
    from agent.engine.unfinished import UnfinishedCall, UnfinishedTurn

_SHOWN = 12
_LEAST = 8


class Decision(NamedTuple):
    """What was said on the command line; at most one thing of it."""

    result: str | None
    failed: str | None
    retry: bool
    approve: bool
    reject: bool
    abandon: bool

    @property
    def names(self) -> list[str]:
        """The options that were given."""
        return [f"--{name}" for name, value in self._asdict().items() if value not in (None, False)]


@click.command()
@click.argument("session", shell_complete=session_ids)
@click.argument("call", required=False)
@db_option
@click.option(
    "--result", type=text_or_file, metavar="TEXT|@FILE", help="It has run: this is its result."
)
@click.option("--failed", metavar="WHY", help="It failed: the model is told why.")
@click.option("--retry", is_flag=True, help="It has not run: run it again, as a new call.")
@click.option("--approve", is_flag=True, help="Allow it, once and as it was shown.")
@click.option("--digest", metavar="HEX", help="With --approve: the digest that was shown.")
@click.option("--reject", is_flag=True, help="Refuse it: the model is told so.")
@click.option("--abandon", is_flag=True, help="Close the whole turn.")
@click.option("--reason", metavar="WHY", default="", help="With --reject and --abandon: why.")
@click.option("--takeover", is_flag=True, help="Take the turn from whoever may be running it.")
@output_options
def resolve(
    *,
    session: str,
    call: str | None,
    db: Path | None,
    digest: str | None,
    reason: str,
    takeover: bool,
    form: Form,
    pager: bool,
    **said: Any,  # noqa: ANN401 - the fields of a decision
) -> None:
    """Show what an unfinished turn waits for, or decide about a call.

    Without a decision the calls are listed, each with all of its arguments; the exit status is 5
    if somebody has to decide. A call of unknown outcome takes --result, --failed or --retry; one
    that waits for a person --approve or --reject. What is approved is what was shown: on a
    terminal it is shown and asked, else --digest names it. agent resume then goes on.

    \b
    Examples:
      agent resolve order-7
      agent resolve order-7 call_5_0 --result "paid 9.5"
      agent resolve order-7 call_9_0 --approve --digest 3f9a2c71
    """  # noqa: D301 - click's mark for lines that stay as they are
    decision = Decision(**said)
    _check(decision, call, digest, reason)
    with reading(db) as store:
        opened = session_of(store, resolve_session(store.log, session))
        if not decision.names:
            _show(opened, form, pager=pager)
            return
        _decide(opened, call or "", decision, digest, reason, takeover=takeover)
        _say_what_is_left(opened)


def _check(decision: Decision, call: str | None, digest: str | None, reason: str) -> None:
    """Raise :class:`click.UsageError` for what does not go together."""
    names = decision.names
    if len(names) > 1:
        raise click.UsageError(f"{' and '.join(names)} are two decisions: take one")
    if names and (call is None) != decision.abandon:
        what = "closes the whole turn: name no call" if decision.abandon else "needs a CALL"
        raise click.UsageError(f"{names[0]} {what}")
    if call is not None and not names:
        raise click.UsageError("say what is decided about the call: see agent resolve --help")
    if digest is not None and not decision.approve:
        raise click.UsageError("--digest belongs to --approve")
    if reason and not (decision.reject or decision.abandon):
        raise click.UsageError("--reason belongs to --reject and --abandon")


# What is waited for


def _show(session: Session, form: Form, *, pager: bool) -> None:
    left = session.unfinished_turn
    if form == "text":
        write_lines(_lines(session, left), pager=pager)
        _say(_hint(session, left))
    else:
        write_document("agent.resolve/1", _fields(session, left))
    if left is not None and any(_undecided(left, call) for call in left.calls):
        sys.stdout.flush()
        sys.exit(exits.UNDECIDED)


def _undecided(left: UnfinishedTurn, call: UnfinishedCall) -> bool:
    """Whether nothing happens before somebody decides about a call."""
    if left.ended or left.owner_alive:
        return False
    return call.state == "unknown" or _waits(call)


def _waits(call: UnfinishedCall) -> bool:
    return call.state != "done" and call.approval == "requested"


def _lines(session: Session, left: UnfinishedTurn | None) -> Iterator[str]:
    name = one_line(session.session_id)
    if left is None:
        yield f"{name}@{session.version}: no turn is open"
        return
    yield f"{name}@{left.stopped}: the turn that began at version {left.started} {_standing(left)}"
    digests = {one.call_id: one.digest for one in session.pending_approvals}
    for call in left.calls:
        yield from _call_lines(call, _state(left, call), digests.get(call.call_id))


def _standing(left: UnfinishedTurn) -> str:
    if left.ended is not None:
        return one_line(f"{left.ended.how}: {left.ended.reason}")
    owner = left.owner
    who = f"process {owner.process} on {one_line(owner.host)}" if owner else ""
    match left.owner_alive:
        case True:
            return f"is run by {who}"
        case None:
            return f"may be run by {who}"
        case _:
            return f"is open; {who} is gone" if who else "is open"


def _state(left: UnfinishedTurn, call: UnfinishedCall) -> str:
    match call.state, call.approval:
        case "unknown", _:
            return "runs" if left.owner_alive else "started, outcome unknown"
        case "not started", "requested":
            return "waits for a person"
        case "not started", "granted":
            return "approved, not started"
        case "not started", "rejected":
            return "rejected"
        case state, _:
            return state


def _call_lines(call: UnfinishedCall, state: str, digest: str | None) -> Iterator[str]:
    bound = f", digest {digest[:_SHOWN]}" if digest else ""
    yield f"{click.style(one_line(call.call_id), 'cyan')}  {one_line(call.tool)}  {state}{bound}"
    yield from indented(call.arguments)


def _hint(session: Session, left: UnfinishedTurn | None) -> str:
    if left is None or left.owner_alive:
        return ""
    calls = [call for call in left.calls if _undecided(left, call)]
    if any(_waits(call) for call in calls):
        return "decide with CALL --approve or CALL --reject"
    if calls:
        return "find out, and decide with CALL --result TEXT, --failed WHY or --retry"
    return f"agent resume {shlex.quote(session.session_id)} goes on"


def _fields(session: Session, left: UnfinishedTurn | None) -> dict[str, Any]:
    from agent.tools.states import plain  # noqa: PLC0415 - slow to import

    digests = {one.call_id: one.digest for one in session.pending_approvals}
    turn = None
    if left is not None:
        calls = [
            {
                "id": call.call_id,
                "tool": call.tool,
                "arguments": call.arguments,
                "state": call.state,
                "approval": call.approval,
                "digest": digests.get(call.call_id),
            }
            for call in left.calls
        ]
        turn = {**plain(left), "calls": calls}
    return {"session": session.session_id, "version": session.version, "turn": turn}


# What is decided


def _decide(
    session: Session,
    call: str,
    decision: Decision,
    digest: str | None,
    reason: str,
    *,
    takeover: bool,
) -> None:
    if decision.abandon:
        session.abandon(reason or "abandoned", takeover=takeover)
    elif decision.reject:
        session.reject(call, reason, takeover=takeover)
    elif decision.approve:
        session.approve(call, digest=_seen(session, call, digest), takeover=takeover)
    else:
        _check_unknown(session, call)
        if decision.retry:
            session.resolve(call, retry=True, takeover=takeover)
        elif decision.failed is not None:
            session.resolve(call, failed=decision.failed, takeover=takeover)
        else:
            session.resolve(call, result=decision.result, takeover=takeover)


def _check_unknown(session: Session, call: str) -> None:
    """Raise :class:`NotFound` unless the outcome of the call is unknown."""
    left = session.unfinished_turn
    unknown = [one.call_id for one in left.calls if one.state == "unknown"] if left else []
    if call not in unknown:
        words = ", ".join(unknown) or "none"
        raise exits.NotFound(f"the outcome of {call} is not unknown; unknown are: {words}")


def _seen(session: Session, call: str, digest: str | None) -> str:
    """The digest of what a person has seen: it is shown now, or was before.

    Raises :class:`click.UsageError` where nobody can have seen it, and :class:`NotFound`.
    """
    waiting = {one.call_id: one for one in session.pending_approvals}
    found = waiting.get(call)
    if found is None:
        words = ", ".join(waiting) or "none"
        raise exits.NotFound(f"{call} does not wait for a person; these do: {words}")
    if digest is None:
        _ask(session, call)
    elif len(digest) < _LEAST:
        raise click.UsageError(f"--digest takes at least {_LEAST} characters of what was shown")
    elif not found.digest.startswith(digest.lower()):
        raise exits.NotFound(f"{call} is another call than was shown: look again")
    return found.digest


def _ask(session: Session, call: str) -> None:
    """Show a call, and leave unless whoever sees it says yes."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError("say what was shown with --digest: agent resolve SESSION shows it")
    left = session.unfinished_turn
    for one in left.calls if left else ():
        if one.call_id == call and left is not None:
            for line in _call_lines(one, _state(left, one), None):
                click.echo(line, err=True, color=is_coloured(sys.stderr))
    try:
        allowed = click.confirm("Allow this call?", err=True)
    except click.Abort:
        click.echo(err=True)
        sys.exit(exits.INTERRUPTED)
    if not allowed:
        raise exits.Undecided("nothing is decided; --reject refuses the call")


def _say_what_is_left(session: Session) -> None:
    left = session.unfinished_turn
    calls = [call for call in left.calls if _undecided(left, call)] if left else []
    if calls:
        named = ", ".join(f"{call.call_id} ({call.tool})" for call in calls)
        _say(f"still to decide: {named}")
    elif left is not None and left.ended is None:
        _say(_hint(session, left))


def _say(words: str) -> None:
    if words:
        click.echo(one_line(words), err=True)
