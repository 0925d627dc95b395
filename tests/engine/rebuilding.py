"""Every request of every session that a test makes, built again from the log."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from agent.engine.errors import UnknownProvider
from agent.engine.handle import Handle
from agent.engine.past_requests import PastRequest, past_request
from agent.eventstore.errors import AgentError
from agent.eventstore.events import ModelRequested
from agent.projections import session as projection
from agent.projections.session import SessionState

_LONGEST = 400
"""Events that are read of a session: long ones are there to measure time."""


def _requests(handle: Handle) -> Iterator[PastRequest]:
    state = SessionState()
    for fact in handle.log.read(handle.binding.key, until=_LONGEST):
        event = fact.event
        if fact.erased:
            return
        if isinstance(event, ModelRequested):
            with suppress(UnknownProvider):
                blob = handle.log.get_blob
                yield past_request(fact.version, event, state, handle.provider, blob)
        state = projection.evolve(state, fact)


@contextmanager
def rebuilding(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Afterwards, every request whose log can still be read has the digest that was recorded.

    Requests by rules that are gone cannot: a test that makes some says so by their names. Nor can
    those after a text that was erased.
    """
    made: list[Handle] = []
    begin = Handle.__init__

    def beginning(self: Handle, *args: Any, **options: Any) -> None:
        begin(self, *args, **options)
        made.append(self)

    with monkeypatch.context() as patch:
        patch.setattr(Handle, "__init__", beginning)
        yield
    for handle in made:
        with suppress(AgentError):  # closed, deleted or damaged by the test
            for past in _requests(handle):
                assert past.proven or past.encoder != past.recorded.encoder
