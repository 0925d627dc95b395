"""Everything that a handle on a session knows, folded together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.eventstore.chain import GENESIS
from agent.eventstore.record import Head
from agent.projections import conversation, lineage, usage
from agent.projections.conversation import Conversation
from agent.projections.lineage import Lineage
from agent.projections.usage import SessionUsage

if TYPE_CHECKING:
    from agent.eventstore.record import Recorded


class SessionState(msgspec.Struct, frozen=True, gc=False):
    """A session at one head: conversation, usage and lineage."""

    hash: bytes = GENESIS
    conversation: Conversation = msgspec.field(default_factory=Conversation)
    usage: SessionUsage = SessionUsage()
    lineage: Lineage = Lineage()

    @property
    def version(self) -> int:
        """How many events it has; 0 before the first."""
        return self.conversation.version

    @property
    def head(self) -> Head | None:
        """Where the stream ends, None before the first event."""
        return Head(self.version, self.hash) if self.version else None

    def branch(self) -> SessionState:
        """The same state for another writer."""
        return msgspec.structs.replace(self, conversation=self.conversation.branch())


def evolve(state: SessionState, fact: Recorded) -> SessionState:
    """The session after one more event."""
    return SessionState(
        fact.hash,
        conversation.evolve(state.conversation, fact),
        usage.evolve(state.usage, fact),
        lineage.evolve(state.lineage, fact),
    )
