"""What becomes of the calls of an answer: a tool runs, a person is asked, or the model is told."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from agent.engine.approvals import (
    ProposedCall,
    covers,
    digest_of,
    needs_person,
    refusal,
)
from agent.engine.effects import ToolOutcome
from agent.engine.stream import ApprovalRequestEvent, ToolCallEvent, ToolResultEvent
from agent.engine.tool_results import error_content
from agent.engine.tool_run import ToolRun
from agent.engine.tools import ToolContext
from agent.eventstore.events import ApprovalRequested, ToolCalled, ToolResolved, ToolReturned
from agent.eventstore.messages import TextPart

if TYPE_CHECKING:
    from agent.engine.ask import Setup
    from agent.engine.journal import Journal
    from agent.engine.stream import StreamEvent
    from agent.engine.tools import Tool
    from agent.eventstore.messages import ResultContent
    from agent.projections.turn import Call


class Intents:
    """Records what is to be done about each call, and what has come of it.

    ``silent`` keeps all of that from the caller, who has asked for another turn.
    """

    def __init__(self, journal: Journal, setup: Setup, *, silent: bool) -> None:
        self._journal = journal
        self._setup = setup
        self._silent = silent

    def intend(self, call: Call) -> ToolRun | None:
        """Record that a tool is about to run, unless that is recorded: then it is the same intent.

        None for a call that waits for a person, and for one that is answered at once: no tool can
        serve it, or a person has refused it.
        """
        part = call.part
        if call.waits_for_a_person:
            return None
        answer = None if call.key else self._setup.answered(call)
        if answer is not None:
            self._record(answer, part.name)
            return None
        refused = refusal(call)
        if refused is not None:
            self._tell(call, (TextPart(refused),))
            return None
        found = self._setup.tools.get(part.name)
        if found is None:
            known = ", ".join(self._setup.tools.names) or "none"
            text = f"UnknownTool: there is no tool {part.name[:100]!r}; the tools are: {known}"
            self._tell(call, (TextPart(text),))
            return None
        key = call.key
        if key is None:
            if self._stops(call, found):
                return None
            intent = ToolCalled(call_id=part.call_id, tool=part.name)
            key = self._journal.record(intent).hash.hex()
        self._announce(ToolCallEvent(part.call_id, part.name, part.arguments))
        return ToolRun(found, part.arguments, ToolContext(self._journal.stream, part.call_id, key))

    def _stops(self, call: Call, tool: Tool[..., Any]) -> bool:
        """Whether a call is not to run now: a person is asked, or its arguments are told to fail.

        What a person was asked about runs only as exactly that.
        """
        if covers(call):
            return False
        policies = (tool.requires_approval, self._setup.requires_approval)
        if call.approval is None and not any(policies):
            return False
        part = call.part
        try:
            values = tool.validated(part.arguments)
        except Exception as error:  # noqa: BLE001 - as from the tool: whatever it is goes to the model
            self._tell(call, error_content(error))
            return True
        given = MappingProxyType(values)
        proposed = ProposedCall(
            self._journal.stream, part.call_id, part.name, part.arguments, given
        )
        if call.approval is None and not needs_person(policies, proposed):
            return False
        digest = digest_of(call)
        self._journal.record(ApprovalRequested(call_id=part.call_id, digest=digest))
        self._announce(ApprovalRequestEvent(part.call_id, part.name, part.arguments, digest))
        return True

    def _tell(self, call: Call, content: tuple[ResultContent, ...]) -> None:
        """Answer a call whose tool does not run."""
        outcome = ToolOutcome(call.part.call_id, content, is_error=True, elapsed=0.0)
        self.returned(outcome, call.part.name)

    def returned(self, outcome: ToolOutcome, name: str) -> None:
        """Record the result of a call."""
        event = ToolReturned(
            call_id=outcome.call_id,
            content=outcome.content,
            is_error=outcome.is_error,
            elapsed=outcome.elapsed,
        )
        self._record(event, name)

    def _record(self, event: ToolReturned | ToolResolved, name: str) -> None:
        text = "".join(part.text for part in event.content if isinstance(part, TextPart))
        self._journal.record(event)
        self._announce(ToolResultEvent(event.call_id, name, text, event.is_error))

    def _announce(self, event: StreamEvent[Any]) -> None:
        if not self._silent:
            self._journal.announce(event)
