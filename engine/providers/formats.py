"""Conversations in the words of a provider, taken in and written out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import msgspec

from agent.engine.errors import InvalidPrompt, MalformedResponse
from agent.engine.provider import Prompt
from agent.engine.providers import provider_of
from agent.engine.providers.unsaid import encoded, unsaid
from agent.engine.request import message_context
from agent.eventstore.messages import Message
from agent.eventstore.values import Settings
from agent.projections.losses import Loss, summed

if TYPE_CHECKING:
    from agent.engine.providers.transcript import Transcript
    from agent.engine.providers.wire import Object


def read_messages(
    data: Mapping[str, Any] | Iterable[Any],
    format: str,  # noqa: A002 - what callers call it
    *,
    model: str = "",
) -> Transcript:
    """A conversation that was kept in a provider's own words, as a session takes it.

    ``data`` is a list of messages or a whole request body, as JSON values or the objects of the
    vendor's own client; ``format`` a name that ``Agent(provider=...)`` takes. Signatures and other
    things that only their model understands go back to ``model`` (by default the body's) of that
    provider. ``left_out`` of the result says what a session cannot take, such as the body's other
    fields. Raises :class:`UnknownProvider`, :class:`InvalidPrompt`.

    >>> read_messages([{"role": "user", "content": "Hello"}], "openai").messages[0].text
    'Hello'
    """
    provider = provider_of(format)
    value = _plain(data)
    body: Object = {provider.conversation[0]: value} if isinstance(value, list) else value
    if provider.conversation[0] not in body:
        raise InvalidPrompt(
            f"a request body of {format} holds its messages as {provider.conversation[0]!r}; this "
            f"one has {', '.join(body) or 'nothing'}"
        )
    _check_objects(provider.conversation[0], body[provider.conversation[0]])
    asked = model or body.get("model") or ""
    try:
        found = provider.read_body(body, provider.origin(str(asked)))
    except MalformedResponse as error:
        raise InvalidPrompt(f"a message cannot be kept: {error}") from error
    others = tuple(name for name in body if name not in (*provider.conversation, "model"))
    lost = summed([*found.left_out, Loss("fields of the body", len(others), others)])
    return msgspec.structs.replace(found, left_out=lost)


def write_messages(
    messages: Iterable[Message],
    format: str,  # noqa: A002 - what callers call it
    *,
    system: str | None = None,
    model: str = "",
    attachments: Mapping[str, bytes] | None = None,
) -> dict[str, Any]:
    """A conversation in a provider's own words: those fields of a request body that hold it.

    With ``"openai"`` that is ``{"messages": [...]}``. ``attachments`` are bytes by their SHA-256
    (hex), for messages that came without them. What the format cannot say is left out, see
    :func:`left_out`. Raises :class:`UnknownProvider`, :class:`InvalidPrompt`.
    """
    history = _checked(messages, attachments or {})
    return Written(history, format, model, attachments or {}).body(system)


def left_out(
    messages: Iterable[Message],
    format: str,  # noqa: A002 - what callers call it
    *,
    model: str = "",
    attachments: Mapping[str, bytes] | None = None,
) -> tuple[Loss, ...]:
    """What :func:`write_messages` leaves out of these messages, by kind.

    It is found by reading again what is written. Raises as :func:`write_messages`.
    """
    history = _checked(messages, attachments or {})
    return summed(Written(history, format, model, attachments or {}).left_out())


def _checked(messages: Iterable[Message], attachments: Mapping[str, bytes]) -> list[Message]:
    history = list(messages)
    for place, message in enumerate(history):
        if not isinstance(message, Message):  # pyright: ignore[reportUnnecessaryIsInstance] - user input
            kind = type(message).__name__
            raise InvalidPrompt(f"messages[{place}] is a {kind}; read_messages makes a Message")
        for blob in message.blobs():
            if blob.data is None and blob.digest not in attachments:
                raise InvalidPrompt(
                    f"messages[{place}] has an attachment without its bytes: pass "
                    f"attachments={{{blob.digest!r}: ...}}"
                )
    return history


class Written:
    """A conversation in a provider's own words. Attachments that it cannot hold are named in words.

    Raises :class:`UnknownProvider`.
    """

    def __init__(
        self,
        messages: Sequence[Message],
        format: str,  # noqa: A002 - what callers call it
        model: str,
        attachments: Mapping[str, bytes],
    ) -> None:
        self._provider = provider_of(format)
        self._model = model
        self._messages = messages
        befores = (None, *messages[:-1])
        contexts = (
            message_context(message, before, model, attachments)
            for message, before in zip(messages, befores, strict=False)
        )
        pairs = zip(messages, contexts, strict=True)
        self._items = [encoded(self._provider, message, context) for message, context in pairs]

    def body(self, system: str | None) -> dict[str, Any]:
        """The fields of a request body that hold it."""
        provider = self._provider
        prompt = Prompt(self._model, system, (), Settings(), None, stream=False)
        frame = provider.encode_frame(prompt)
        items = [*frame.leading, *(item for items in self._items for item in items)]
        body: Object = msgspec.json.decode(frame.start + b",".join(items) + frame.end)
        return {name: body[name] for name in provider.conversation if name in body}

    def left_out(self) -> Iterator[Loss]:
        """What it does not say, one by one."""
        asked: Sequence[bytes] = ()
        for message, items in zip(self._messages, self._items, strict=True):
            answered = asked if message.tool_results else ()
            yield from unsaid(self._provider, self._model, message, [*answered, *items])
            asked = items


def _check_objects(field: str, value: object) -> None:
    """Raise :class:`InvalidPrompt` for an item that no reader would see."""
    for place, item in enumerate(cast("list[object]", value) if isinstance(value, list) else ()):
        if not isinstance(item, dict):
            raise InvalidPrompt(f"{field}[{place}] is no object; {field} is a list of objects")


def _plain(data: object) -> Any:
    """The data as plain JSON values. Raises :class:`InvalidPrompt`."""
    if isinstance(data, str | bytes) or not isinstance(data, Mapping | Iterable):
        raise InvalidPrompt(
            f"data is a list of messages or a request body, not {type(data).__name__}"
        )
    given: object = cast("Any", data) if isinstance(data, Mapping) else list(cast("Any", data))
    try:
        return msgspec.json.decode(msgspec.json.encode(given, enc_hook=_dumped))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidPrompt(f"data is no JSON: {error}") from error


def _dumped(value: object) -> object:
    """The fields of an object of a vendor's client, which is a pydantic model."""
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"a {type(value).__name__} is none of its values")
    return dump(mode="json", exclude_none=True)
