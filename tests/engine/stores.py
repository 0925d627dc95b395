"""Stores and the sessions in them, as the tests of stores need them."""

import json
from typing import Any

from agent import Session
from agent.engine.scripted import Scripted
from agent.stores import SessionStore
from tests.engine.given import agent_of


class DictStore(SessionStore):
    """A store of one's own: the four methods and nothing else, over JSON text."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.saves: list[int] = []

    def save(self, session_id: str, data: dict[str, Any]) -> None:
        """Keep a session."""
        self.saves.append(data["version"])
        self.kept[session_id] = json.dumps(data)

    def load(self, session_id: str) -> dict[str, Any] | None:
        """Load a session."""
        return json.loads(self.kept[session_id]) if session_id in self.kept else None

    def delete(self, session_id: str) -> bool:
        """Forget a session."""
        return self.kept.pop(session_id, None) is not None

    def list_sessions(self) -> list[str]:
        """List the keys."""
        return sorted(self.kept)


def opened(store: SessionStore, *script: Scripted, key: str = "s", **options: Any) -> Session:
    """A session of the store."""
    return agent_of(*script, store=store).session(key, **options)


def exported(*script: Scripted, key: str = "x") -> dict[str, Any]:
    """A session from elsewhere, with a turn for each answer."""
    session = agent_of(*script).session(key)
    for _ in script:
        session.run("a")
    return session.to_dict()
