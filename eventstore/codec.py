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
from agent.eventstore.rawjson import check_number, check_raw, check_scalar

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes the decoded payload of one schema version and returns that of the next."""


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
        self._decoders = {tag: msgspec.json.Decoder(cls) for tag, cls in events.items()}

    def encode(self, event: Event) -> bytes:
        """Encode an event. Raises :class:`InvalidEvent` for what could not be read back."""
        self.check(event)
        try:
            payload = self._encoder.encode(event)
            self._decoders[event.type].decode(payload)
        except (UnicodeEncodeError, TypeError):
            _check(event, of=event.type, path="$", scalars=True)
            raise
        except msgspec.ValidationError as error:
            reason, _, path = str(error).partition(" - at ")
            raise InvalidEvent(reason, event=event.type, path=path.strip("`") or "$") from None
        return payload

    def check(self, event: Event) -> None:
        """Refuse what msgspec would store as something else. Raises :class:`InvalidEvent`."""
        _check(event, of=event.type, path="$")

    def decode(self, type: str, schema: int, payload: bytes) -> Event:  # noqa: A002 - the field's name
        """Decode stored bytes.

        Raises :class:`UnknownEvent` for a type or schema version that this release does not
        know, and ``msgspec.DecodeError`` for bytes that do not fit.
        """
        known = self._events.get(type)
        if known is None or schema > known.schema:
            raise UnknownEvent(type=type, schema=schema, known=known and known.schema)
        if schema < 1:
            raise msgspec.ValidationError(f"there is no schema {schema}")
        if schema < known.schema:
            payload = self._upcast(type, range(schema, known.schema), payload)
        return self._decoders[type].decode(payload)

    def _upcast(self, type: str, steps: range, payload: bytes) -> bytes:  # noqa: A002 - the field's name
        fields = msgspec.json.decode(payload)
        for schema in steps:
            fields = self._upcasters[type, schema](fields)
        return self._encoder.encode(fields)


def _check(value: object, *, of: str, path: str, scalars: bool = False) -> None:
    """Walk an event for what msgspec would store as something else."""
    match value:
        case float():
            check_number(value, of=of, path=path)
        case msgspec.Raw():
            check_raw(value, of=of, path=path)
        case msgspec.Struct():
            for name in value.__struct_fields__:
                _check(getattr(value, name), of=of, path=f"{path}.{name}", scalars=scalars)
        case tuple():
            for index, item in enumerate(value):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
                _check(item, of=of, path=f"{path}[{index}]", scalars=scalars)  # pyright: ignore[reportUnknownArgumentType]
        case bool() | int() | str() if scalars:
            check_scalar(value, of=of, path=path)
        case None | bool() | int() | str():
            pass
        case _:
            raise InvalidEvent(f"JSON cannot hold a {type(value).__name__}", event=of, path=path)


UPCASTERS: dict[tuple[str, int], Upcaster] = {}
"""No event has changed its schema yet."""

CODEC = Codec(UPCASTERS)
