import base64
import json
from typing import Any

import msgspec
import pytest

from agent.engine.errors import ConfigurationError, InvalidPrompt
from agent.engine.providers.ollama_chat.decoding import read_body
from agent.engine.providers.origin import Origin
from agent.eventstore.messages import (
    FilePart,
    ImagePart,
    Link,
    Message,
    OpaquePart,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from agent.eventstore.rawjson import to_raw
from agent.eventstore.values import OutputSchema, Settings
from tests.engine.providers.given import PARAMETERS, WEATHER, body_of, prompt, provider_of
from tests.engine.providers.ollama_chat.given import ORIGIN, call, items
from tests.fakes.ollama_server import check_body

OTHER = Origin("gemini", "generate_content", "gemini-3-pro")
PIXELS = base64.b64encode(b"pixels").decode()
IMAGE = ImagePart.from_bytes(b"pixels")


def body(**given: Any) -> dict[str, Any]:
    """A body without messages."""
    found = body_of(provider_of("ollama"), (), prompt("llama3.2", **given))
    check_body(found)
    return found


@pytest.mark.parametrize(
    ("message", "item"),
    [
        (Message.user("a", "b"), {"role": "user", "content": "ab"}),
        (Message.user(IMAGE, "a"), {"role": "user", "content": "a", "images": [PIXELS]}),
        (Message.assistant(), {"role": "assistant", "content": ""}),
        (
            Message.assistant(
                ReasoningPart("Hm", OTHER.opaque({})),
                TextPart("a"),
                OpaquePart(OTHER.opaque({})),
                RefusalPart("b"),
                ToolCallPart("c1", "f", "", "x", OTHER.opaque({"functionCall": {"id": "x"}})),
            ),
            {"role": "assistant", "content": "ab", "tool_calls": [call("f", {})]},
        ),
    ],
)
def test_a_message_is_one_item(message: Message, item: Any) -> None:
    """With nothing of another provider's own."""
    assert items(message) == [item]


def test_results_name_their_tools() -> None:
    """Ids only where the server gave one; images follow, links and files are named."""
    asked = Message.assistant(
        ToolCallPart("c1", "a", "{}", "x", ORIGIN.opaque(call("a", {}, id="x"))),
        ToolCallPart("c2", "b", "{}", "y"),
    )
    files = (IMAGE, ImagePart(Link("u")), FilePart.from_bytes(b"", "application/pdf", "f.pdf"))
    answered = Message.tool(
        ToolResultPart("c2", (TextPart("two"), *files)), ToolResultPart("c1", (TextPart("one"),))
    )
    assert items(answered, asked) == [
        {"role": "tool", "content": "one", "tool_name": "a", "tool_call_id": "x"},
        {"role": "tool", "content": "two", "tool_name": "b"},
        {"role": "user", "content": "Returned by b:\nu\n[file: f.pdf]\n", "images": [PIXELS]},
    ]


@pytest.mark.parametrize(
    "part", [ImagePart(Link("u")), FilePart.from_bytes(b"", "application/pdf")]
)
def test_a_user_learns_what_cannot_be_sent(part: Any) -> None:
    """Only images by content can."""
    with pytest.raises(ConfigurationError, match="Ollama takes"):
        items(Message.user(part))


def test_the_frame_says_everything_else() -> None:
    """Settings are options, but for those of thinking."""
    settings = Settings(
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        max_tokens=100,
        stop=("x",),
        seed=1,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        extra=to_raw({"keep_alive": "5m", "options": {"num_ctx": 8192}}, of="extra"),
    )
    schema = OutputSchema("shape", msgspec.Raw(b'{"type":"object"}'))
    found = body(system="S", tools=(WEATHER,), settings=settings, output=schema, stream=True)
    parameters = json.loads(PARAMETERS)
    function = {"name": "get_weather", "description": "Get it.", "parameters": parameters}
    options = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "num_predict": 100,
        "stop": ["x"],
        "seed": 1,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "num_ctx": 8192,
    }
    assert found == {
        "messages": [{"role": "system", "content": "S"}],
        "model": "llama3.2",
        "stream": True,
        "tools": [{"type": "function", "function": function}],
        "format": {"type": "object"},
        "options": options,
        "keep_alive": "5m",
    }


@pytest.mark.parametrize(
    ("settings", "think"),
    [
        (Settings(show_reasoning=True), True),
        (Settings(show_reasoning=False), False),
        (Settings(reasoning_effort="low", show_reasoning=True), "low"),
        (Settings(reasoning_effort="none"), False),
    ],
)
def test_thinking(settings: Settings, think: object) -> None:
    """A level where one is given, else whether at all."""
    assert body(settings=settings)["think"] == think


def test_no_tools_are_shown_where_none_may_be_called() -> None:
    """The protocol has no other way to say so."""
    assert "tools" not in body(tools=(WEATHER,), settings=Settings(tool_choice="none"))
    assert "tools" in body(tools=(WEATHER,), settings=Settings(tool_choice="auto"))


@pytest.mark.parametrize("choice", ["required", "get_weather"])
def test_a_call_cannot_be_forced(choice: str) -> None:
    """The error says what may be chosen, and how else a call is had."""
    with pytest.raises(ConfigurationError) as raised:
        body(tools=(WEATHER,), settings=Settings(tool_choice=choice))
    assert str(raised.value) == (
        "ollama cannot be made to call a tool: tool_choice takes 'auto' or 'none', not "
        f"{choice!r}; ask for the call in the prompt"
    )


@pytest.mark.parametrize(
    "settings",
    [
        Settings(parallel_tool_calls=False),
        Settings(verbosity="low"),
        Settings(extra=to_raw({"messages": []}, of="extra")),
    ],
)
def test_what_the_api_cannot_do_is_refused(settings: Settings) -> None:
    """And so is what the session sets itself."""
    with pytest.raises(ConfigurationError):
        body(tools=(WEATHER,), settings=settings)


def test_a_body_is_read_into_messages() -> None:
    """And written back, it is the same."""
    conversation = [
        {"role": "user", "content": "a", "images": [PIXELS]},
        {
            "role": "assistant",
            "content": "",
            "thinking": "Hm",
            "tool_calls": [call("f", {"x": 1}), call("g", {}, id="y")],
        },
        {"role": "tool", "content": "one", "tool_name": "f"},
        {"role": "tool", "content": "two", "tool_name": "g", "tool_call_id": "y"},
        {"role": "assistant", "content": "Done"},
    ]
    system = {"role": "system", "content": "S"}
    transcript = read_body({"messages": [system, *conversation]}, ORIGIN)
    assert transcript.system == "S"
    assert [message.role for message in transcript.messages] == [
        *("user", "assistant", "tool", "assistant")
    ]
    before = (None, *transcript.messages)
    written = [
        item
        for asked, message in zip(before, transcript.messages, strict=False)
        for item in items(message, asked)
    ]
    assert written == conversation


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": "", "images": ["?"]},
        {"role": "other"},
        {"role": "tool", "content": "x"},
        {"role": "assistant", "tool_calls": [{}]},
    ],
)
def test_a_body_that_no_server_would_take(message: Any) -> None:
    """It is refused with a reason."""
    with pytest.raises(InvalidPrompt):
        read_body({"messages": [message]}, ORIGIN)
