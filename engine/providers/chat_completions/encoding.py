"""Conversations to the body of a Chat Completions request.

``messages`` comes first and everything that varies from turn to turn after it, so that the bytes
of the history never change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agent.engine.errors import ConfigurationError
from agent.engine.provider import Frame
from agent.engine.providers.fields import extra_fields, settings_fields, url_of
from agent.engine.providers.strict_schema import strict_schema
from agent.eventstore.messages import (
    Blob,
    FilePart,
    ImagePart,
    Link,
    Message,
    Part,
    ResultContent,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from agent.eventstore.rawjson import from_raw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.engine.provider import Prompt
    from agent.engine.providers.vendors import ChatDialect
    from agent.eventstore.values import OutputSchema, Settings, ToolDefinition

_encode = msgspec.json.encode


_FIXED = ("messages", "model", "stream")
_SETTINGS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_tokens": "",
    "stop": "stop",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "reasoning_effort": "reasoning_effort",
    "verbosity": "verbosity",
    "service_tier": "service_tier",
}
"""Their names by ours; that of the limit depends on the server."""


def encode_message(message: Message, attachments: Mapping[str, bytes]) -> Sequence[bytes]:
    """A message as items of ``messages``."""
    match message.role:
        case "user":
            content = _content(message.parts, attachments)
            return [_encode({"role": "user", "content": content})]
        case "assistant":
            return [_encode(_assistant(message))]
        case "tool":
            return _tool(message.tool_results, attachments)


def _content(parts: Sequence[Part], attachments: Mapping[str, bytes]) -> str | list[Any]:
    if all(isinstance(part, TextPart) for part in parts):
        return "".join(part.text for part in parts if isinstance(part, TextPart))
    return [item for part in parts if (item := _content_item(part, attachments))]


def _content_item(part: Part, attachments: Mapping[str, bytes]) -> dict[str, Any] | None:
    match part:
        case TextPart(text=text):
            return {"type": "text", "text": text}
        case ImagePart(source=source, media_type=media_type):
            url = url_of(source, media_type or "image/png", attachments)
            return {"type": "image_url", "image_url": {"url": url}}
        case FilePart(source=Blob() as source, media_type=media_type, name=name):
            data = url_of(source, media_type, attachments)
            file = {"filename": name or "file", "file_data": data}
            return {"type": "file", "file": file}
        case FilePart(source=Link(url=url)):
            raise ConfigurationError(
                f"Chat Completions takes no linked file: {url}; send its bytes"
            )
        case _:
            return None


def _assistant(message: Message) -> dict[str, Any]:
    calls = [_call(part) for part in message.tool_calls]
    text, refusal = message.text, message.refusal
    absent = not text and (calls or refusal is not None)
    encoded: dict[str, Any] = {"role": "assistant", "content": None if absent else text}
    if refusal is not None:
        encoded["refusal"] = refusal
    if calls:
        encoded["tool_calls"] = calls
    return encoded


def _call(part: ToolCallPart) -> dict[str, Any]:
    function = {"name": part.name, "arguments": part.valid_arguments}
    return {"id": part.call_id, "type": "function", "function": function}


def _tool(results: Sequence[ToolResultPart], attachments: Mapping[str, bytes]) -> Sequence[bytes]:
    """One item a result. A result takes only text: images follow in a user message."""
    items = [_encode(_result(result)) for result in results]
    shown: list[ResultContent] = []
    for result in results:
        seen = [_shown(part) for part in result.content if isinstance(part, ImagePart | FilePart)]
        if seen:
            shown += [TextPart(f"Returned by tool call {result.call_id}:"), *seen]
    if shown:
        items.append(_encode({"role": "user", "content": _content(shown, attachments)}))
    return items


def _shown(part: ImagePart | FilePart) -> ResultContent:
    """A linked file of a result is named: what a tool has returned must not end the session."""
    match part:
        case FilePart(source=Link(url=url)):
            return TextPart(url)
        case _:
            return part


def _result(result: ToolResultPart) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": result.call_id, "content": result.text}


def encode_frame(prompt: Prompt, dialect: ChatDialect, provider: str) -> Frame:
    """What stands around the messages; keys in a fixed order."""
    leading: tuple[bytes, ...] = ()
    if prompt.system:
        leading = (_encode({"role": "system", "content": prompt.system}),)
    fields: dict[str, Any] = {"model": prompt.model}
    if prompt.tools:
        fields["tools"] = [_tool_definition(tool) for tool in prompt.tools]
        fields |= _tool_settings(prompt.settings)
    if prompt.output is not None:
        fields["response_format"] = _response_format(prompt.output)
    names = {**_SETTINGS, "max_tokens": dialect.limit(prompt.model)}
    fields |= settings_fields(prompt.settings, names, provider)
    if prompt.stream:
        fields |= {"stream": True, "stream_options": {"include_usage": True}}
    fields |= extra_fields(prompt.settings, _FIXED)
    return Frame(b'{"messages":[', leading, b"]," + _encode(fields)[1:])


def _tool_definition(tool: ToolDefinition) -> dict[str, Any]:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }
    return {"type": "function", "function": function}


def _tool_settings(settings: Settings) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    match settings.tool_choice:
        case None:
            pass
        case "auto" | "none" | "required":
            fields["tool_choice"] = settings.tool_choice
        case name:
            fields["tool_choice"] = {"type": "function", "function": {"name": name}}
    if settings.parallel_tool_calls is not None:
        fields["parallel_tool_calls"] = settings.parallel_tool_calls
    return fields


def _response_format(output: OutputSchema) -> dict[str, Any]:
    schema = from_raw(output.schema)
    strict = strict_schema(schema)
    named: dict[str, Any] = {"name": output.name, "schema": strict or schema}
    if strict is not None:
        named["strict"] = True
    return {"type": "json_schema", "json_schema": named}
