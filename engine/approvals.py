"""Approvals: which calls a person has to allow before they run, and what that person says.

Everything here decides on projected state and performs nothing.
"""

from __future__ import annotations

import inspect
import logging
import reprlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from agent.engine.errors import ConfigurationError, NotPending
from agent.engine.logs import log
from agent.eventstore.events import ApprovalGranted, ApprovalRejected
from agent.eventstore.values import call_digest

if TYPE_CHECKING:
    from agent.projections.conversation import Conversation
    from agent.projections.turn import Call, Turn


class ProposedCall(msgspec.Struct, frozen=True):
    """A tool call that the model asks for, as a policy sees it.

    ``arguments`` is the JSON text that the model wrote, ``values`` what the tool would be given:
    validated, defaults included, by parameter name.
    """

    session_id: str
    call_id: str
    tool: str
    arguments: str
    values: Mapping[str, Any]


ApprovalPolicy = bool | Callable[[ProposedCall], bool]
"""Whether a person decides about calls: about each, about none, or those of which this is true."""


class PendingApproval(msgspec.Struct, frozen=True):
    """A call that waits for a person: what to show, and what ``approve`` is to be given.

    ``arguments`` is JSON text, exactly as the tool would get it. ``digest`` stands for tool and
    arguments together.
    """

    call_id: str
    tool: str
    arguments: str
    digest: str


def checked_policy(given: ApprovalPolicy, *, of: str) -> ApprovalPolicy:
    """Refuse what decides nothing. Raises :class:`ConfigurationError`."""
    if not isinstance(given, bool) and not callable(given):
        raise ConfigurationError(
            f"{of} takes True, False, or a function of the call, not {reprlib.repr(given)}"
        )
    if any(inspect.iscoroutinefunction(one) for one in (given, getattr(given, "__call__", None))):  # noqa: B004 - of an object
        raise ConfigurationError(f"{of} takes a plain function: it answers at once, with a bool")
    return given


def needs_person(policies: tuple[ApprovalPolicy, ...], call: ProposedCall) -> bool:
    """Whether a person has to decide about a call: if any of the policies says so.

    One that raises, or that answers neither True nor False, says so too, and is logged.
    """
    return any(_says_yes(policy, call) for policy in policies)


def _says_yes(policy: ApprovalPolicy, call: ProposedCall) -> bool:
    if isinstance(policy, bool):
        return policy
    try:
        answer = policy(call)
        if not isinstance(answer, bool):  # pyright: ignore[reportUnnecessaryIsInstance] - a user's
            words = f"a policy answers True or False, not {reprlib.repr(answer)}"
            raise TypeError(words)  # noqa: TRY301 - met like what it raises
    except Exception as error:  # noqa: BLE001 - whatever a policy raises, a person is asked
        log(
            "approval.policy_failed",
            level=logging.WARNING,
            session_id=call.session_id,
            call_id=call.call_id,
            tool=call.tool,
            exc_info=error,
        )
        return True
    return answer


def digest_of(call: Call) -> str:
    """What an approval of the call is bound to."""
    return call_digest(call.part.name, call.part.arguments)


def covers(call: Call) -> bool:
    """Whether a person has allowed exactly this call."""
    approval = call.approval
    return (
        approval is not None and approval.state == "granted" and approval.digest == digest_of(call)
    )


def refusal(call: Call) -> str | None:
    """What the model is told of a call that a person has refused, None if nobody has."""
    approval = call.approval
    if approval is None or approval.state != "rejected":
        return None
    reason = f": {approval.reason}" if approval.reason else ""
    return f"ApprovalRejected: a person has refused this call{reason}"


def pending_approvals(turn: Turn | None) -> tuple[PendingApproval, ...]:
    """The calls of an open turn that wait for a person."""
    return tuple(
        PendingApproval(
            call.part.call_id, call.part.name, call.part.arguments, call.approval.digest
        )
        for call in (turn.calls if turn else ())
        if call.waits_for_a_person and call.approval is not None
    )


def deciding(
    now: Conversation, decided: ApprovalGranted | ApprovalRejected, digest: str | None
) -> Iterator[ApprovalGranted | ApprovalRejected]:
    """The event of a decision. Raises :class:`NotPending`."""
    waiting = pending_approvals(now.turn)
    ids = tuple(one.call_id for one in waiting)
    found = next((one for one in waiting if one.call_id == decided.call_id), None)
    if found is None:
        raise NotPending(now.session_id, decided.call_id, _why_not(now.turn, decided.call_id), ids)
    if digest is not None and digest != found.digest:
        words = "is not the call that was shown: tool or arguments differ"
        raise NotPending(now.session_id, decided.call_id, words, ids)
    yield decided


def _why_not(turn: Turn | None, call_id: str) -> str:
    calls = [call for call in (turn.calls if turn else ()) if call.part.call_id == call_id]
    if not calls or calls[0].approval is None:
        return "does not wait for an approval"
    was = "approved" if calls[0].approval.state == "granted" else "rejected"
    return f"was {was} already"
