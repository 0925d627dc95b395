"""A local fake of OpenAI's `POST /v1/responses` that keeps nothing, as strict as the real one.

It refuses what the types of the vendor's client do not know, results without calls and calls
without results, and reasoning that does not stand right before the item that it led to.
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
)
from pydantic import TypeAdapter, ValidationError

from tests.fakes import chat_model, responses_wire
from tests.fakes.chat_replies import Reply, Stream
from tests.fakes.chat_server import ChatServer, Request
from tests.fakes.chat_validation import ApiError

TYPES = {
    False: TypeAdapter[Any](ResponseCreateParamsNonStreaming),
    True: TypeAdapter[Any](ResponseCreateParamsStreaming),
}
CALLS = ("function_call", "custom_tool_call")

Item = dict[str, Any]


class ResponsesServer(ChatServer):
    """A context manager that serves on 127.0.0.1 and a free port."""

    path = "/v1/responses"

    def __init__(self) -> None:
        super().__init__()
        self.led: dict[str, str] = {}
        """The reasoning that led to an item, by their ids."""

    def check_body(self, body: Any) -> None:
        """Refuse what the API does."""
        check_types(body)
        if body.get("store") is not False:
            raise ApiError("This fake keeps nothing: store has to be false", "store")
        check_pairs(body["input"])
        self._check_reasoning(body["input"])

    def _check_reasoning(self, items: list[Item]) -> None:
        before: Item = {}
        for item in [*items, {}]:
            name, led = before.get("id"), self.led.get(item.get("id", ""))
            if before.get("type") == "reasoning":
                if not before.get("encrypted_content"):
                    raise ApiError(f"Item with id '{name}' not found.", "input")
                if led not in (None, name) or item.get("role") == "user" or not item:
                    text = f"Item '{name}' of type 'reasoning' was provided without its"
                    raise ApiError(f"{text} required following item.", "input")
            elif led is not None:
                text = f"Item '{item['id']}' of type '{item['type']}' was provided without its"
                raise ApiError(f"{text} required 'reasoning' item: '{led}'.", "input")
            before = item

    def think(self, request: Request) -> Reply:
        """What the model of the other API says to the same conversation."""
        return chat_model.answer(as_chat(request.json))

    def completed(self, number: int, request: Request, how: Stream) -> Iterable[bytes]:
        """The response, with reasoning in front of it, or its events."""
        said = responses_wire.Said(number, request.json, how.reply)
        output = said.output()
        self.led[output[1]["id"]] = output[0]["id"]
        return said.events(how) if request.json.get("stream") else [said.body()]


def plain(value: object) -> object:
    """The value with lists for what the types check only when it is read."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in cast("Mapping[str, object]", value).items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [plain(item) for item in cast("Iterable[object]", value)]
    return value


def check_types(body: Any) -> None:
    """Raise `ApiError` for keys and values that the types do not know."""
    try:
        known = plain(TYPES[bool(body.get("stream"))].validate_python(body))
    except ValidationError as error:
        raise ApiError(str(error)) from error
    if known != body:
        raise ApiError(f"Unknown parameter: {known} is what is known of {body}")


def check_pairs(items: list[Item]) -> None:
    """Raise `ApiError` for a call without a result after it, or the reverse."""
    waiting: set[str] = set()
    for item in items:
        kind, call_id = item.get("type", "message"), item.get("call_id", "")
        if kind in CALLS:
            waiting.add(call_id)
        elif kind.endswith("_call_output"):
            if call_id not in waiting:
                raise ApiError(f"No tool call found for {kind} with call_id {call_id}.", "input")
            waiting.remove(call_id)
        elif waiting and item.get("role") == "user":
            break
    if waiting:
        raise ApiError(f"No tool output found for function call {waiting.pop()}.", "input")


def as_chat(body: Item) -> Item:
    """The same request in the words of Chat Completions."""
    messages: list[Item] = []
    if body.get("instructions"):
        messages.append({"role": "system", "content": body["instructions"]})
    for item in body["input"]:
        kind = item.get("type", "message")
        if kind == "message":
            messages.append({"role": item["role"], "content": _text(item["content"])})
        elif kind == "function_call":
            if not messages or "tool_calls" not in messages[-1]:
                messages.append({"role": "assistant", "content": None, "tool_calls": []})
            function = {"name": item["name"], "arguments": item["arguments"]}
            call = {"id": item["call_id"], "type": "function", "function": function}
            messages[-1]["tool_calls"].append(call)
        elif kind == "function_call_output":
            content = _text(item["output"])
            messages.append({"role": "tool", "tool_call_id": item["call_id"], "content": content})
    tools = [{"type": "function", "function": tool} for tool in body.get("tools", ())]
    chat = {"model": body["model"], "messages": messages}
    format_ = body.get("text", {}).get("format")
    choice = {key: body[key] for key in ("tool_choice",) if key in body}
    return {
        **chat,
        **({"tools": tools, **choice} if tools else {}),
        **({"response_format": {"type": "json_schema", "json_schema": format_}} if format_ else {}),
    }


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(piece.get("text", "") for piece in content)
