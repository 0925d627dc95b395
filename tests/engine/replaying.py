"""Every session that a test makes, replayed."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from agent import Agent, Session
from agent.engine.configurations import AsRecorded
from agent.engine.errors import UnknownProvider
from agent.engine.handle import Handle
from agent.engine.replay import replay
from agent.engine.rewriting import rewritten
from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.errors import AgentError

_LONGEST = 400
"""Events that are read of a session: long ones are there to measure time."""


@contextmanager
def replaying(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Afterwards, every session whose log can still be read has been replayed without a difference.

    By the engine as it was configured, and by the agent where only one had to do with the session.
    """
    made: list[tuple[Agent, Handle]] = []
    foreign: set[int] = set()
    begin = Session.__init__

    def beginning(self: Session, agent: Agent, handle: Handle) -> None:
        begin(self, agent, handle)
        if not any(known.log is handle.log for _, known in made) and _exists(handle):
            foreign.add(id(handle.log))
        made.append((agent, handle))

    with monkeypatch.context() as patch:
        patch.setattr(Session, "__init__", beginning)
        yield
    for log in {id(handle.log) for _, handle in made} - foreign:
        agents = {id(agent) for agent, handle in made if id(handle.log) == log}
        if len(agents) > 1:
            foreign.add(log)
    for agent, handle in {(id(h.log), h.binding.key): (a, h) for a, h in made}.values():
        with suppress(UnknownProvider):
            _replay(agent, handle, own=id(handle.log) not in foreign)


def _exists(handle: Handle) -> bool:
    """Whether others have written to the log. Nothing is opened that is not there yet."""
    if isinstance(handle.log, SQLiteLog) and not Path(handle.log.path).exists():
        return False
    with suppress(AgentError):
        return next(handle.log.streams(), None) is not None
    return True


def _replay(agent: Agent, handle: Handle, *, own: bool) -> None:
    try:
        facts = list(handle.log.read(handle.binding.key, until=_LONGEST))
        events: list[Any] = [fact.event for fact in facts]
    except AgentError:  # closed, deleted or damaged by the test
        return
    if not facts:
        return
    read = handle.log.get_blob
    found = replay(facts, read, AsRecorded(agent.provider))
    # Rules that are gone cannot be spoken: a test that makes some says so by their names.
    gone = found.divergence is not None and found.divergence.kind == "encoding"
    assert gone or found.divergence is None, f"{found.divergence}\n{_listed(events)}"
    if own and not any(fact.erased for fact in facts):
        found = replay(facts, read, agent.today())
        assert found.divergence is None, f"{found.divergence}\n{_listed(events)}"
        written = rewritten(facts, read, agent.today())
        assert [f.hash for f in written] == [f.hash for f in facts], _listed(events)


def _listed(events: list[Any]) -> str:
    return "\n".join(f"{version} {event}" for version, event in enumerate(events, 1))
