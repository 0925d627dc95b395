import json
from typing import Any

import pytest

from agent.engine.errors import InvalidPrompt
from agent.engine.providers.chat_completions.decoding import read_body
from agent.engine.providers.origin import Origin
from agent.eventstore.messages import (
    FilePart,
    ImagePart,
    Message,
    OpaquePart,
    ReasoningPart,
    RefusalPart,
    TextPart,
)
from tests.engine.providers.chat_completions.given import ORIGIN, items

OTHER = Origin("openai", "chat_completions", "gpt-5")
PNG = "data:image/png;base64,iVBORw=="
PDF = "data:application/pdf;base64,JVBERg=="
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
SIGNED = {**CALL, "extra_content": {"google": {"thought_signature": "c2ln"}}}
ENCRYPTED = {"type": "reasoning.encrypted", "data": "ZW5j", "id": "a", "index": 0}


def read(*given: Any) -> tuple[Message, ...]:
    """The messages that a body holds."""
    return read_body({"messages": list(given)}, ORIGIN).messages


def written(messages: tuple[Message, ...], origin: Origin = ORIGIN) -> list[Any]:
    """The messages as the server gets them."""
    calls = [call for message in messages for call in message.tool_calls]
    return [item for message in messages for item in items(message, *calls, origin=origin)]


def user(*content: Any, **more: Any) -> dict[str, Any]:
    """What the user says, in items."""
    return {"role": "user", "content": list(content), **more}


def said(content: Any = None, **more: Any) -> dict[str, Any]:
    """What the assistant says."""
    return {"role": "assistant", "content": content, **more}


IMAGE = {"type": "image_url", "image_url": {"url": PNG, "detail": "high"}}
FILE = {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}, "cache": 1}
CACHED = {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}
RESULT = {"role": "tool", "tool_call_id": "a", "content": "1"}
AUDIO = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}


@pytest.mark.parametrize(
    ("given", "elsewhere"),
    [
        ([user(IMAGE)], [user({"type": "image_url", "image_url": {"url": PNG}})]),
        ([user(FILE)], [user({"type": "file", "file": FILE["file"]})]),
        ([user(CACHED)], [{"role": "user", "content": "Hi"}]),
        ([user(AUDIO, CACHED)], [{"role": "user", "content": "Hi"}]),
        (
            [user({"type": "file", "file": {"file_id": "f-1"}}, IMAGE)],
            [user({"type": "image_url", "image_url": {"url": PNG}})],
        ),
        ([{"role": "user", "content": "Hi", "name": "Bo"}], [{"role": "user", "content": "Hi"}]),
        (
            [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}],
            [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
        ),
        ([said("a", prefix=True)], [said("a")]),
        ([said("a", audio={"id": "x"})], [said("a")]),
        ([said(refusal="No")], [said(refusal="No")]),
        ([said([{"type": "refusal", "refusal": "No"}])], [said(refusal="No")]),
        ([said("a", annotations=[{"type": "url_citation"}])], [said("a")]),
        ([said("a", reasoning="b")], [said("a")]),
        ([said([{"type": "reference", "reference_ids": [1]}, CACHED])], [said("Hi")]),
        ([said(tool_calls=[SIGNED]), RESULT], [said(tool_calls=[CALL]), RESULT]),
        (
            [said(tool_calls=[CALL], reasoning_details=[ENCRYPTED]), RESULT],
            [said(tool_calls=[CALL]), RESULT],
        ),
        (
            [said(tool_calls=[CALL]), {**RESULT, "name": "f"}],
            [said(tool_calls=[CALL]), RESULT],
        ),
        ([said(tool_calls=[CALL]), {**RESULT, "content": [CACHED]}], None),
    ],
)
def test_it_comes_back_as_it_was(given: list[Any], elsewhere: list[Any] | None) -> None:
    """To the same model all of it, to another what every model understands."""
    messages = read(*given)
    assert written(messages) == given
    if elsewhere is not None:
        assert written(messages, OTHER) == elsewhere


def test_parts_say_what_they_can() -> None:
    """Text, attachments, reasoning and refusals are ours; nothing else is."""
    (asked,) = read(user(IMAGE, FILE, AUDIO, CACHED))
    kinds = [type(part) for part in asked.parts]
    assert kinds == [ImagePart, FilePart, OpaquePart, TextPart]
    (answered,) = read(said("a", reasoning="b", refusal="c", x=1))
    kinds = [type(part) for part in answered.parts]
    assert kinds == [ReasoningPart, TextPart, RefusalPart, OpaquePart]


def test_the_bytes_of_an_attachment_are_kept_once() -> None:
    """What else its item says is kept beside them."""
    (asked,) = read(user(IMAGE))
    (image,) = asked.parts
    assert image.opaque is not None
    assert json.loads(bytes(image.opaque.data)) == {"image_url": {"detail": "high"}}


def test_an_image_that_is_a_bare_url() -> None:
    """Some servers take it so."""
    (asked,) = read(user({"type": "image_url", "image_url": "https://example.com/a.png"}))
    assert asked.parts == (ImagePart.from_url("https://example.com/a.png"),)


def test_functions_of_old() -> None:
    """A function call and its result become a tool call and its result."""
    call = said(function_call={"name": "f", "arguments": "{}"})
    messages = read(call, {"role": "function", "name": "f", "content": "1"})
    assert [message.role for message in messages] == ["assistant", "tool"]
    (asked,) = messages[0].tool_calls
    assert (asked.name, messages[1].tool_results[0].call_id) == ("f", asked.call_id)
    assert [item["role"] for item in written(messages)] == ["assistant", "tool"]


def test_arguments_that_are_an_object() -> None:
    """They are text with us."""
    call = {"function": {"name": "f", "arguments": {"a": 1}}}
    ((asked,),) = (message.tool_calls for message in read(said(tool_calls=[call])))
    assert asked.arguments == '{"a":1}'


def test_the_system_prompt() -> None:
    """What stands at the beginning is one text."""
    given = [{"role": "system", "content": "a"}, {"role": "developer", "content": [CACHED]}]
    transcript = read_body({"messages": [*given, user(CACHED)]}, ORIGIN)
    assert (transcript.system, len(transcript.messages)) == ("a\n\nHi", 1)
    assert read_body({"messages": []}, ORIGIN).system is None


@pytest.mark.parametrize(
    "item",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png,raw"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,?"}},
    ],
)
def test_an_attachment_that_is_none(item: Any) -> None:
    """It is refused, with its place."""
    with pytest.raises(InvalidPrompt, match=r"messages\[0\]: .*base64"):
        read(user(item))
