"""Events to stored bytes and back, across schema versions.

Bytes are JSON. Reading is strict: unknown types, newer schema versions and unknown fields are
refused. Older schema versions are brought forward one step at a time by upcasters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from agent.eventstore.errors import InvalidEvent, UnknownEvent
from agent.eventstore.events import EVENTS, Event
from agent.eventstore.rawjson import DEEPEST, check_raw, check_scalar

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes the decoded payload of one schema version and returns that of the next."""


class _Decoders(dict[str, msgspec.json.Decoder[Event]]):
    """Decoders by type, each made when it is first needed: most programs need few of them."""

    def __init__(self, events: Mapping[str, type[Event]]) -> None:
        self._events = events

    def __missing__(self, tag: str) -> msgspec.json.Decoder[Event]:
        decoder = self[tag] = msgspec.json.Decoder(self._events[tag])
        return decoder


class Codec:
    """Encodes and decodes events; ``upcasters`` are keyed by (type, the version they read)."""

    def __init__(
        self,
        upcasters: Mapping[tuple[str, int], Upcaster],
        events: Mapping[str, type[Event]] = EVENTS,
    ) -> None:
        self._upcasters = upcasters
        self._events = events
        self._encoder = msgspec.json.Encoder()
        self._decoders = _Decoders(events)
        self._current: dict[tuple[str, int], msgspec.json.Decoder[Event]] = {}

    def encode(self, event: Event) -> bytes:
        """Encode an event. Raises :class:`InvalidEvent` for what could not be read back."""
        try:
            payload = self._encoder.encode(event)
            msgspec.json.decode(payload)
            if self._decoders[event.type].decode(payload) == event:
                if payload.count(b"[") + payload.count(b"{") > DEEPEST:
                    self.check(event)
                return payload
            reason, path = "it would not be read back as it is", ""
        except (UnicodeError, TypeError, RecursionError, msgspec.DecodeError) as error:
            reason, _, path = str(error).partition(" - at ")
        self.check(event)
        raise InvalidEvent(reason, event=event.type, path=path.strip("`") or "$")

    def check(self, event: Event) -> None:
        """Refuse what msgspec would store as something else. Raises :class:`InvalidEvent`."""
        _check(event, of=event.type, path="$")

    def decode(self, type: str, schema: int, payload: bytes) -> Event:  # noqa: A002 - the field's name
        """Decode stored bytes.

        Raises :class:`UnknownEvent` for a type or schema version that this release does not
        know, and ``msgspec.DecodeError`` for bytes that do not fit.
        """
        decoder = self._current.get((type, schema))
        if decoder is None:
            known = self._events.get(type)
            if known is None or schema != known.schema:
                return self._decode_older(type, schema, payload)
            decoder = self._current[type, schema] = self._decoders[type]
        return decoder.decode(payload)

    def _decode_older(self, type: str, schema: int, payload: bytes) -> Event:  # noqa: A002 - the field's name
        known = self._events.get(type)
        if known is None or schema > known.schema:
            raise UnknownEvent(type=type, schema=schema, known=known and known.schema)
        if schema < 1:
            raise msgspec.ValidationError(f"there is no schema {schema}")
        fields = msgspec.json.decode(payload)
        for older in range(schema, known.schema):
            fields = self._upcasters[type, older](fields)
        return self._decoders[type].decode(self._encoder.encode(fields))


def _check(value: object, *, of: str, path: str) -> None:
    """Walk an event for what msgspec would store as something else, and name the place."""
    match value:
        case None:
            pass
        case bool() | int() | float() | str():
            check_scalar(value, of=of, path=path)
        case msgspec.Raw():
            check_raw(value, of=of, path=path)
        case msgspec.Struct():
            for name in value.__struct_fields__:
                _check(getattr(value, name), of=of, path=f"{path}.{name}")
        case tuple():
            for index, item in enumerate(value):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
                _check(item, of=of, path=f"{path}[{index}]")  # pyright: ignore[reportUnknownArgumentType]
        case _:
            raise InvalidEvent(f"JSON cannot hold a {type(value).__name__}", event=of, path=path)


UPCASTERS: dict[tuple[str, int], Upcaster] = {}
"""No event has changed its schema yet."""

CODEC = Codec(UPCASTERS)
