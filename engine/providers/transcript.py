"""A provider's own list of messages, read into ours."""

from __future__ import annotations

import base64
import binascii
from abc import ABC, abstractmethod
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

import msgspec

from agent.engine.errors import InvalidPrompt
from agent.engine.providers.wire import Object, as_objects, as_string
from agent.eventstore.messages import Blob, Link, Message
from agent.projections.losses import Loss, summed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from agent.engine.providers.origin import Origin
    from agent.eventstore.messages import ToolCallPart

_DATA = "data:"
_BASE64 = ";base64"


class Transcript(msgspec.Struct, frozen=True):
    """A conversation that was kept elsewhere: what a session takes as its history.

    ``left_out`` is what a session cannot take.
    """

    system: str | None
    messages: tuple[Message, ...]
    left_out: tuple[Loss, ...] = ()


class CallNames:
    """Names the calls of a history that is read, and finds the call that a result answers.

    A call keeps the provider's id where that is there and new; else it gets one of ours.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._waiting: deque[tuple[str, str, str]] = deque()

    def call(self, part: ToolCallPart) -> ToolCallPart:
        """The next call, which has the provider's id or "", under its name here."""
        call_id = provider_id = part.call_id
        while not call_id or call_id in self._taken:
            call_id = f"call_0_{len(self._taken)}{'_' if call_id else ''}"
        self._taken.add(call_id)
        self._waiting.append((call_id, provider_id, part.name))
        return msgspec.structs.replace(part, call_id=call_id, provider_id=provider_id or None)

    def result(self, provider_id: str, name: str = "") -> str:
        """The call that a result answers: by the provider's id, else by its name, else the oldest.

        Raises :class:`InvalidPrompt` for a result that no call waits for.
        """
        for position, (call_id, known_id, known_name) in enumerate(self._waiting):
            named = known_name == name or not name
            if provider_id == known_id if provider_id else named:
                del self._waiting[position]
                return call_id
        raise InvalidPrompt(f"the result for {provider_id or name!r} answers no call before it")


class MessageReader(ABC):
    """Reads the messages of a body one by one; ``field`` is where the body holds them."""

    field: ClassVar[str] = "messages"

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._names = CallNames()

    def read(self, items: Sequence[Object], first: int = 0) -> Iterator[Message]:
        """The messages that these say, the first of which has this place in the body.

        Raises :class:`InvalidPrompt`, which names the place.
        """
        for place, item in enumerate(items, first):
            with placed(self.field, place):
                yield from self._read(item)

    @abstractmethod
    def _read(self, item: Object) -> Iterator[Message]:
        """The messages that one item says."""


@contextmanager
def placed(field: str, place: int) -> Generator[None]:
    """An :class:`InvalidPrompt` of what is done here names the place in the body."""
    try:
        yield
    except InvalidPrompt as error:
        raise InvalidPrompt(f"{field}[{place}]: {error}") from error


def parted(
    items: Sequence[Object], is_system: Callable[[Object], bool]
) -> tuple[Sequence[Object], Sequence[Object]]:
    """The system's items that a conversation begins with, and the others."""
    others = (place for place, item in enumerate(items) if not is_system(item))
    first = next(others, len(items))
    return items[:first], items[first:]


def transcript(
    texts: Iterable[str], marks: Iterable[str], messages: Iterable[Message], *more: Loss
) -> Transcript:
    """What was read: a session's system prompt is one text, without the ``marks`` on its pieces."""
    pieces, named = [text for text in texts if text], list(marks)
    borders = Loss("borders in the system prompt", max(len(pieces) - 1, 0))
    lost = Loss("marks of the system prompt", len(named), tuple(named))
    return Transcript("\n\n".join(pieces) or None, tuple(messages), summed((borders, lost, *more)))


def names_besides(items: Iterable[Object], *said: str) -> Iterator[str]:
    """The fields of items that say something besides these."""
    for item in items:
        yield from (name for name, value in item.items() if name not in said and value is not None)


def text_of(content: object) -> str:
    """Content that may only be text, in one piece or in several."""
    if isinstance(content, str):
        return content
    return "\n\n".join(as_string(item.get("text")) for item in as_objects(content))


def joined(messages: Iterable[Message]) -> tuple[Message, ...]:
    """The messages with the results of one message's calls in one message."""
    kept: list[Message] = []
    for message in messages:
        if kept and message.role == kept[-1].role == "tool":
            kept[-1] = Message("tool", (*kept[-1].parts, *message.parts))
        else:
            kept.append(message)
    return tuple(kept)


def source_of(url: str) -> tuple[Blob | Link, str | None]:
    """What a URL stands for, with its media type if it says one: bytes inside of it, or a link.

    Raises :class:`InvalidPrompt`.
    """
    if not url.startswith(_DATA):
        return Link(url), None
    head, _, data = url.removeprefix(_DATA).partition(",")
    if not head.endswith(_BASE64):
        raise InvalidPrompt("a data URL of an attachment is base64")
    return blob_of(data), head.removesuffix(_BASE64).partition(";")[0] or None


def blob_of(text: str) -> Blob:
    """The attachment that base64 text holds. Raises :class:`InvalidPrompt`."""
    try:
        return Blob.of(base64.b64decode(text, validate=True))
    except binascii.Error as error:
        raise InvalidPrompt(f"an attachment is not base64: {error}") from error
