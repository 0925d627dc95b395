import copy
import hashlib
import pickle
from collections.abc import Callable
from typing import get_args

import msgspec
import pytest

from agent.eventstore.messages import (
    Blob,
    FilePart,
    ImagePart,
    Link,
    Message,
    Opaque,
    OpaquePart,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    blobs_of,
)

OPAQUE = Opaque("acme", "chat", "acme-1", msgspec.Raw(b"{}"))


def test_text_becomes_a_part():
    """A plain string stands for a text part; other parts are taken as they are."""
    image = ImagePart.from_url("https://example.org/a.png")

    assert Message("user", (TextPart("a"), image, TextPart("b"))) == Message.user("a", image, "b")
    assert Message("assistant", (TextPart("a"),)) == Message.assistant("a")


def test_text_is_what_was_said():
    """The text of a message is its text parts joined, without reasoning, refusal or calls."""
    message = Message.assistant(
        ReasoningPart("hm"), "one ", ToolCallPart("c", "t", "{}"), RefusalPart("no"), "two"
    )

    assert message.text == "one two"


def test_text_is_always_a_string():
    """A message without text has the text ""."""
    assert Message.assistant(ToolCallPart("c", "t", "{}")).text == ""


def test_text_of_results_is_one_per_line():
    """The text of a tool message is the text of each result on its own line."""
    first = ToolResultPart("c1", (TextPart("a"), ImagePart.from_url("u"), TextPart("b")))
    second = ToolResultPart("c2", (TextPart("c"),))

    assert Message.tool(first, second).text == "ab\nc"


def test_refusal_is_told_from_none():
    """A refusal is its text, an empty one included; None where the model did not refuse."""
    assert Message.assistant("yes").refusal is None
    assert Message.assistant(RefusalPart("")).refusal == ""
    assert Message.assistant(RefusalPart("no, "), RefusalPart("never")).refusal == "no, never"


def test_calls_and_results_in_order():
    """A message gives its tool calls and results in their order."""
    calls = (ToolCallPart("c1", "t", "{}"), ToolCallPart("c2", "t", "not json"))
    results = (ToolResultPart("c1", ()), ToolResultPart("c2", (), is_error=True))

    assert Message.assistant("now", *calls).tool_calls == calls
    assert Message.tool(*results).tool_results == results
    assert Message.user("x").tool_calls == Message.user("x").tool_results == ()


def test_blob_is_named_by_its_content():
    """An attachment is named by the SHA-256 of its bytes; the bytes are no part of its identity."""
    digest = hashlib.sha256(b"data").hexdigest()
    blob = Blob.of(b"data")

    assert (blob.digest, blob.size, blob.data) == (digest, 4, b"data")
    assert Blob(digest, 4) == blob
    assert Blob(digest, 4).data is None


def test_blob_carries_its_own_copy():
    """Changing the buffer afterwards does not change the attachment."""
    buffer = bytearray(b"data")
    blob = Blob.of(memoryview(buffer))  # pyright: ignore[reportArgumentType]
    buffer[:] = b"else"

    assert blob.data == b"data"


def test_blob_is_stored_without_its_bytes():
    """The encoded message names an attachment and does not hold it."""
    message = Message.user(FilePart.from_bytes(b"secret", "text/plain", "a.txt"))
    digest = hashlib.sha256(b"secret").hexdigest()

    expected = {
        "role": "user",
        "parts": [
            {
                "type": "file",
                "source": {"kind": "blob", "digest": digest, "size": 6},
                "media_type": "text/plain",
                "name": "a.txt",
            }
        ],
    }
    assert msgspec.json.decode(msgspec.json.encode(message)) == expected


def test_attachments_are_found_inside_results():
    """Every attachment stored by content is found, those inside of tool results included."""
    image, file = ImagePart.from_bytes(b"1"), FilePart.from_bytes(b"2", "text/plain")
    result = ToolResultPart("c", (TextPart("x"), image, OpaquePart(OPAQUE)))
    parts = (TextPart("x"), file, ImagePart(Link("u")), result, file)

    assert [file.source, image.source, file.source] == list(blobs_of(parts))
    assert [file.source] == list(Message.user("x", file).blobs())


def test_parts_tell_their_type():
    """Each kind of part has a tag of its own, and tells it."""
    tags = [cls.__struct_config__.tag for cls in get_args(Part)]

    assert len(set(tags)) == len(tags)
    assert TextPart("x").type == "text"
    assert ToolResultPart("c", ()).type == "tool_result"


@pytest.mark.parametrize(
    ("value", "field"),
    [(Message.user("x"), "role"), (TextPart("x"), "text"), (Blob("x", 1), "size")],
)
def test_frozen(value: object, field: str):
    """Messages, parts and attachments cannot be changed."""
    with pytest.raises(AttributeError):
        setattr(value, field, "other")


@pytest.mark.parametrize("field", ["", "cache"])
def test_unknown_fields_are_refused(field: str):
    """A field that this release does not know is refused, not dropped."""
    text = msgspec.json.encode({"type": "text", "text": "x", field: 1})

    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=Part)


def pickled(part: ImagePart) -> ImagePart:
    """The part as another process would get it."""
    return pickle.loads(pickle.dumps(part))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled])
def test_copies_keep_the_bytes(duplicate: Callable[[ImagePart], ImagePart]):
    """Copies and pickles of an attachment come with its bytes, if it did."""
    image = ImagePart.from_bytes(b"pixels", "image/webp")
    stored = ImagePart(Blob("00" * 32, 6), "image/png")
    for part, data in ((image, b"pixels"), (stored, None)):
        twin = duplicate(part)
        assert twin == part
        assert isinstance(twin.source, Blob)
        assert twin.source.data == data


def test_copied_messages_keep_the_bytes():
    """The same inside a message and inside a tool's result."""
    file = FilePart.from_bytes(b"text", "text/plain", "a.txt")
    for message in (
        Message.user("Look:", file),
        Message.tool(ToolResultPart("call-1", (TextPart("Here:"), file))),
    ):
        for twin in (copy.deepcopy(message), pickle.loads(pickle.dumps(message))):
            assert twin == message
            assert [blob.data for blob in twin.blobs()] == [b"text"]


@pytest.mark.parametrize(
    "written",
    [
        '{"a": 1, "b":',
        "[1]",
        '{"a": NaN}',
        '{"a": ' * 5000,
        '{"a": ' * 101 + "1" + "}" * 101,
        '{"a": "\\ud83c"}',
    ],
)
def test_arguments_that_are_no_object_become_one(written: str):
    """The model sees what it wrote, in a form that every provider takes."""
    assert msgspec.json.decode(ToolCallPart("c", "f", written).valid_arguments) == {
        "invalid_arguments": written
    }


@pytest.mark.parametrize(("written", "valid"), [("", "{}"), ('{"x": 1}', '{"x": 1}')])
def test_arguments_that_are_an_object_stay_as_they_are(written: str, valid: str):
    """Nothing is written anew, and no arguments are an empty object."""
    assert ToolCallPart("c", "f", written).valid_arguments == valid
