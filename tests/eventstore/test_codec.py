from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agent.eventstore.codec import CODEC, UPCASTERS, Codec
from agent.eventstore.errors import InvalidEvent, UnknownEvent
from agent.eventstore.events import (
    EVENTS,
    Event,
    HistoryRewound,
    MessageAdded,
    MetadataChanged,
    ModelResponded,
    SystemChanged,
    ToolCalled,
    ToolReturned,
    TurnStarted,
)
from agent.eventstore.messages import (
    FilePart,
    ImagePart,
    Link,
    Message,
    Opaque,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from agent.eventstore.values import Owner, Settings, Usage
from tests.eventstore.golden import FOLDER, path_of
from tests.eventstore.samples import LONE, SAMPLES, Number, Word
from tests.eventstore.strategies import events

VERSIONS = [(tag, schema) for tag, cls in EVENTS.items() for schema in range(1, cls.schema + 1)]
OWNER = Owner("h", 1, 1)


# Round trips


@given(events)
def test_round_trip(event: Event):
    """Every event comes back from its bytes as it was."""
    assert event == CODEC.decode(event.type, event.schema, CODEC.encode(event))


@given(events)
def test_bytes_are_stable(event: Event):
    """An event read and written again has the same bytes."""
    payload = CODEC.encode(event)

    assert payload == CODEC.encode(CODEC.decode(event.type, event.schema, payload))


def test_raw_text_is_kept_to_the_byte():
    """Raw JSON is stored as it was written: spaces, order of keys, form of numbers."""
    text = b'{ "b" : 1.50e2,\t"a": [ ], "b": 1 }'

    payload = CODEC.encode(MetadataChanged(metadata=msgspec.Raw(text)))

    assert text in payload
    assert MetadataChanged(metadata=msgspec.Raw(text)) == CODEC.decode(
        "metadata.changed", 1, payload
    )


# Golden files


@pytest.mark.parametrize(("tag", "schema"), VERSIONS)
def test_golden_file_is_read(tag: str, schema: int):
    """What any release has written is read as the event that it was."""
    golden = path_of(tag, schema).read_bytes()

    assert SAMPLES[tag, schema] == CODEC.decode(tag, schema, golden)


@pytest.mark.parametrize("tag", EVENTS)
def test_golden_file_is_written(tag: str):
    """This release writes each event as the golden file of its schema has it."""
    schema = EVENTS[tag].schema

    assert path_of(tag, schema).read_bytes() == CODEC.encode(SAMPLES[tag, schema])


def test_golden_files_are_complete():
    """There is a golden file for each schema version of each event type, and no other."""
    expected = {path_of(tag, schema).name for tag, schema in VERSIONS}

    assert expected == {path.name for path in FOLDER.glob("*.json")}


@pytest.mark.parametrize("tag", EVENTS)
def test_samples_set_every_field(tag: str):
    """A sample leaves no field at its default: the golden file shows them all."""
    schema = EVENTS[tag].schema
    written = msgspec.json.decode(path_of(tag, schema).read_bytes())

    assert {"type", *EVENTS[tag].__struct_encode_fields__} == set(written)


def test_upcasters_are_complete():
    """Every schema version but the newest has an upcaster to the next, and nothing else has."""
    assert {(tag, n) for tag, n in VERSIONS if n < EVENTS[tag].schema} == set(UPCASTERS)


# Strictness of reading


@pytest.mark.parametrize("tag", EVENTS)
def test_unknown_field_is_refused(tag: str):
    """An event with a field that this release does not know does not decode."""
    fields = msgspec.json.decode(path_of(tag, 1).read_bytes())

    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        CODEC.decode(tag, 1, msgspec.json.encode({**fields, "colour": "red"}))


@pytest.mark.parametrize("place", [b'"opaque":{', b'"source":{', b'"settings":{', b'"owner":{'])
def test_unknown_inner_field_is_refused(place: bytes):
    """An unknown field is refused at every depth."""
    golden = path_of("turn.started", 1).read_bytes()

    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        CODEC.decode("turn.started", 1, golden.replace(place, place + b'"colour":1,', 1))


def test_unknown_type_is_refused():
    """An event of an unknown type names itself in the error."""
    with pytest.raises(UnknownEvent) as caught:
        CODEC.decode("session.painted", 1, b"{}")

    error = caught.value
    assert (error.type, error.schema, error.known) == ("session.painted", 1, None)


@pytest.mark.parametrize("tag", EVENTS)
def test_newer_schema_is_refused(tag: str):
    """An event of a newer schema is refused, although its bytes would fit."""
    known = EVENTS[tag].schema

    with pytest.raises(UnknownEvent) as caught:
        CODEC.decode(tag, known + 1, path_of(tag, known).read_bytes())

    error = caught.value
    assert (tag, known + 1, known) == (error.type, error.schema, error.known)


@pytest.mark.parametrize("schema", [0, -1])
def test_schemas_begin_with_one(schema: int):
    """There is no schema version below 1."""
    with pytest.raises(msgspec.ValidationError):
        CODEC.decode("history.cleared", schema, b'{"type":"history.cleared"}')


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b'{"type":"system.changed"}',
        b'{"type":"history.cleared","system":null}',
        b'{"type":"system.changed","system":5}',
        b'{"type":"system.changed","system":"x"',
        b'{"type":"system.changed","system":"x"}}',
        b'{"type":"system.changed","system":"\\ud800"}',
        b'{"type":"system.changed","system":NaN}',
    ],
)
def test_misfit_is_refused(payload: bytes):
    """Bytes that are no whole event of their type do not decode."""
    with pytest.raises(msgspec.DecodeError):
        CODEC.decode("system.changed", 1, payload)


# Strictness of writing


def returned(part: TextPart | ImagePart | FilePart) -> ToolReturned:
    """A result whose second part is this one."""
    return ToolReturned(call_id="c", content=(TextPart("first"), part))


@pytest.mark.parametrize(
    ("event", "path"),
    [
        (SystemChanged(system=LONE), "$.system"),
        (MessageAdded(message=Message.user("ok", LONE)), "$.message.parts[1].text"),
        (returned(FilePart(Link("u"), "m", LONE)), "$.content[1].name"),
        (returned(ImagePart(Link(LONE))), "$.content[1].source.url"),
        (
            MessageAdded(message=Message.assistant(ToolCallPart("c", "t", LONE))),
            "$.message.parts[0].arguments",
        ),
        (
            MessageAdded(message=Message.tool(ToolResultPart("c", (TextPart(LONE),)))),
            "$.message.parts[0].content[0].text",
        ),
        (
            TurnStarted(input=Message.user("x"), settings=Settings(stop=("a", LONE)), owner=OWNER),
            "$.settings.stop[1]",
        ),
    ],
)
def test_lone_surrogate_is_refused(event: Event, path: str):
    """Text that no UTF-8 can hold is refused wherever it stands, with its path."""
    with pytest.raises(InvalidEvent, match="lone surrogate") as caught:
        CODEC.encode(event)

    assert (event.type, path) == (caught.value.event, caught.value.path)


@given(events, st.data())
def test_lone_surrogate_is_refused_anywhere(event: Event, data: st.DataObject):
    """There is no string in any event that may hold a lone surrogate."""
    places = list(text_places(event, "$"))
    assume(places)
    path, replace = data.draw(st.sampled_from(places))

    with pytest.raises(InvalidEvent) as caught:
        CODEC.encode(replace(LONE))

    assert path == caught.value.path


def text_places(value: object, path: str) -> Iterator[tuple[str, Callable[[str], Any]]]:
    """Each place of a free text, with a function that puts another text there."""
    match value:
        case str():
            yield path, lambda text: text
        case msgspec.Struct() if not isinstance(value, msgspec.Raw):
            for name in value.__struct_fields__:
                for inner, replace in text_places(getattr(value, name), f"{path}.{name}"):
                    yield inner, _in_field(value, name, replace)
        case tuple():
            for index, item in enumerate(value):
                for inner, replace in text_places(item, f"{path}[{index}]"):
                    yield inner, _in_tuple(value, index, replace)


def _in_field(value, name, replace):
    return lambda text: msgspec.structs.replace(value, **{name: replace(text)})


def _in_tuple(value, index, replace):
    return lambda text: (*value[:index], replace(text), *value[index + 1 :])


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_refused(number: float):
    """NaN and the infinities are refused with their path; msgspec would store null."""
    answer = ModelResponded(
        message=Message.assistant("x"), finish_reason="stop", usage=Usage(), elapsed=number
    )
    asked = TurnStarted(input=Message.user("x"), settings=Settings(top_p=number), owner=OWNER)

    for event, path in ((answer, "$.elapsed"), (asked, "$.settings.top_p")):
        with pytest.raises(InvalidEvent, match="no JSON number") as caught:
            CODEC.encode(event)
        assert (event.type, path) == (caught.value.event, caught.value.path)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"{}}",
        b"{} {}",
        b"NaN",
        b"1e999",
        b"'a'",
        b'"\\ud800"',
        b'"\xff"',
        b'{"a":1,}',
        b"[" * 10_000 + b"]" * 10_000,
    ],
    ids=lambda text: repr(text[:10]),
)
def test_invalid_raw_json_is_refused(text: bytes):
    """Raw text that is not one JSON value is refused with its path, not stored."""
    opaque = Opaque("acme", "chat", "acme-1", msgspec.Raw(text))

    with pytest.raises(InvalidEvent, match="invalid raw JSON") as caught:
        CODEC.encode(MessageAdded(message=Message.user("x", TextPart("y", opaque))))

    assert caught.value.path == "$.message.parts[1].opaque.data"


@pytest.mark.parametrize(
    ("event", "path"),
    [
        (SystemChanged(system=b"bytes"), "$.system"),  # pyright: ignore[reportArgumentType]
        (SystemChanged(system={"a": 1}), "$.system"),  # pyright: ignore[reportArgumentType]
        (SystemChanged(system=Word("x")), "$.system"),
        (SystemChanged(system=5), "$.system"),  # pyright: ignore[reportArgumentType]
        (HistoryRewound(to=Number(1)), "$.to"),
        (HistoryRewound(to="1"), "$.to"),  # pyright: ignore[reportArgumentType]
        (ToolCalled(call_id="c", tool=None), "$.tool"),  # pyright: ignore[reportArgumentType]
        (
            MessageAdded(message=Message("user", [TextPart("x")])),  # pyright: ignore[reportArgumentType]
            "$.message.parts",
        ),
        (
            MessageAdded(message=Message("system", ())),  # pyright: ignore[reportArgumentType]
            "$.message.role",
        ),
        (
            TurnStarted(
                input=Message.user("x"),
                settings=Settings(temperature="0.7"),  # pyright: ignore[reportArgumentType]
                owner=OWNER,
            ),
            "$.settings.temperature",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else None,
)
def test_what_could_not_be_read_back_is_refused(event: Event, path: str):
    """An event is refused, with the path, when its bytes would not decode to what it says."""
    with pytest.raises(InvalidEvent) as caught:
        CODEC.encode(event)

    assert (event.type, path) == (caught.value.event, caught.value.path)


# Upcasting


class Painted(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="type",
    tag="wall.painted",
):
    """An event in its third schema: ``colour`` became ``colours``, then ``notes`` came along."""

    schema = 3

    colours: tuple[str, ...]
    notes: msgspec.Raw

    @property
    def type(self) -> str:
        """The tag."""
        return "wall.painted"


def plural(fields: dict[str, object]) -> dict[str, object]:
    """Schema 1 to 2."""
    colour = fields.pop("colour")
    return {**fields, "colours": [colour]}


def noted(fields: dict[str, object]) -> dict[str, object]:
    """Schema 2 to 3."""
    return {**fields, "notes": {"from": "schema 2"}}


WALLS = Codec(
    {("wall.painted", 1): plural, ("wall.painted", 2): noted},
    {"wall.painted": Painted},  # pyright: ignore[reportArgumentType] - made up for this test
)


@pytest.mark.parametrize(
    ("schema", "payload"),
    [
        (1, b'{"type":"wall.painted","colour":"red"}'),
        (2, b'{"type":"wall.painted","colours":["red"]}'),
        (3, b'{"type":"wall.painted","colours":["red"],"notes":{"from":"schema 2"}}'),
    ],
)
def test_old_schemas_are_brought_forward(schema: int, payload: bytes):
    """An event of an old schema is brought to today's, one version after the other."""
    painted = Painted(colours=("red",), notes=msgspec.Raw(b'{"from":"schema 2"}'))

    assert painted == WALLS.decode("wall.painted", schema, payload)


def test_upcast_event_is_checked():
    """What upcasters return is read as strictly as what is stored."""
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        WALLS.decode("wall.painted", 1, b'{"type":"wall.painted","colour":"red","size":1}')
    with pytest.raises(UnknownEvent):
        WALLS.decode("wall.painted", 4, b"{}")
