"""What a provider says of a call: what is sent, and how the answer is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from agent.engine.errors import ProviderError

if TYPE_CHECKING:
    from agent.engine.provider import Answer, Delta


class Parser(Protocol):
    """Makes sense of a response body, piece by piece. Each step raises :class:`ProviderError`."""

    @property
    def ended(self) -> bool:
        """Whether the answer is complete, whatever may follow."""
        ...

    def feed(self, chunk: bytes) -> Iterator[Delta]:
        """Take bytes; gives what they add to the answer."""
        ...

    def finish(self) -> Iterator[Delta]:
        """The body has ended; gives what that adds to the answer."""
        ...

    def answer(self) -> Answer:
        """The whole answer."""
        ...


class FailureReader(Protocol):
    """Turns an error response into an error."""

    def __call__(self, status: int, headers: Mapping[str, str], body: bytes, /) -> ProviderError:
        """The error that a status stands for."""
        ...


class Exchange(msgspec.Struct, frozen=True):
    """One POST: what is sent, how the answer is read, what an error status means.

    ``deadline`` bounds the whole of it, in seconds; ``cancelled`` says whether to hang up.
    ``secret`` is never shown in an error, even when the server repeats it.
    """

    provider: str
    url: str
    headers: dict[str, str]
    body: bytes
    parser: Parser
    failure: FailureReader
    deadline: float | None = None
    secret: str = ""
    cancelled: Callable[[], bool] = bool

    def __repr__(self) -> str:
        """Without the key: tools that print tracebacks print local values too."""
        return f"<Exchange POST {self.url}>"
