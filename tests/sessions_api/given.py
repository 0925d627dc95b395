"""What these tests share: a conversation, tools, a custom store."""

import asyncio
import json
from typing import Any

from pydantic import BaseModel

from agent import Session, tool
from agent.stores import SessionStore
from tests.fakes import ChatServer
from tests.fakes.chat_model import text_of

ALICE = ("My name is Alice", "I'm a software engineer")
FACTS = "Based on our conversation, I know that your name is Alice and you work as a software"
AT_ONCE = {"retry-after": "0"}


class Summary(BaseModel):
    """The shape that the document asks for."""

    key_points: list[str]
    conclusion: str


class FakeRedis:
    """The few commands of redis that the document's store uses."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def set(self, key: str, value: str) -> None:
        """Set a value."""
        self.values[key] = value

    def get(self, key: str) -> str | None:
        """Return a value, or None."""
        return self.values.get(key)

    def delete(self, key: str) -> int:
        """Return how many keys were deleted."""
        return int(self.values.pop(key, None) is not None)

    def keys(self, pattern: str) -> list[str]:
        """Return the keys that start like the pattern."""
        return [key for key in self.values if key.startswith(pattern.rstrip("*"))]


class RedisStore(SessionStore):
    """The custom store of the document."""

    def __init__(self, redis_client: FakeRedis) -> None:
        self.redis = redis_client

    def save(self, session_id: str, data: dict[str, Any]) -> None:
        """Store as JSON text."""
        self.redis.set(f"session:{session_id}", json.dumps(data))

    def load(self, session_id: str) -> dict[str, Any] | None:
        """Return what was stored, or None."""
        data = self.redis.get(f"session:{session_id}")
        return json.loads(data) if data else None

    def delete(self, session_id: str) -> bool:
        """Return whether there was such a session."""
        return self.redis.delete(f"session:{session_id}") > 0

    def list_sessions(self) -> list[str]:
        """Return the ids."""
        return [key.replace("session:", "") for key in self.redis.keys("session:*")]


@tool
def get_user_orders(user_id: str) -> str:
    """Get orders for a user."""
    return json.dumps([{"id": "1", "item": "Laptop", "user": user_id}])


@tool
async def divide(dividend: int, divisor: int) -> str:
    """Divide two numbers."""
    await asyncio.sleep(0)
    return str(dividend // divisor)


def sent(server: ChatServer, index: int = -1) -> list[tuple[str, str]]:
    """Role and text of each message of a request."""
    return [(one["role"], text_of(one)) for one in server.requests[index].messages]


def shown(session: Session) -> list[tuple[str, str]]:
    """Role and text of each message of the history."""
    return [(message.role, message.text) for message in session.messages]


def told(session: Session) -> Session:
    """Let Alice introduce herself."""
    for text in ALICE:
        session.run(text)
    return session
