"""Whose an answer is: what only its provider understands goes back to nobody else."""

from __future__ import annotations

import msgspec

from agent.engine.providers.wire import Object, malformed
from agent.eventstore.errors import InvalidEvent
from agent.eventstore.messages import Opaque
from agent.eventstore.rawjson import check_raw, from_raw


class Origin(msgspec.Struct, frozen=True):
    """A provider, the protocol that it spoke, and the model that was asked."""

    provider: str
    api: str
    model: str

    def opaque(self, data: Object) -> Opaque:
        """The data as a part keeps it: a whole item of the protocol, or the fields of one.

        An item is kept where our own parts do not say all of it. Raises
        :class:`MalformedResponse` for one that no log can hold.
        """
        raw = msgspec.Raw(msgspec.json.encode(data))
        try:
            check_raw(raw, of="opaque", path="$")
        except InvalidEvent as error:
            raise malformed(self.provider, error.reason) from error
        return Opaque(self.provider, self.api, self.model, raw)

    def own(self, opaque: Opaque | None) -> Object | None:
        """The data if it came from here, None if there is none or it is another's."""
        if opaque is None:
            return None
        mine = (opaque.provider, opaque.api, opaque.model)
        if mine != (self.provider, self.api, self.model):
            return None
        return from_raw(opaque.data)
