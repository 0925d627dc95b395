"""What stands around the messages of a Chat Completions request.

``messages`` comes first and everything that varies from turn to turn after it, so that the bytes
of the history never change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agent.engine.provider import Frame
from agent.engine.providers.fields import function_tool, settings_fields, tool_settings, with_extra
from agent.engine.providers.strict_schema import strict_schema
from agent.eventstore.rawjson import from_raw

if TYPE_CHECKING:
    from agent.engine.provider import Prompt
    from agent.engine.providers.vendors import ChatDialect
    from agent.eventstore.values import OutputSchema

_encode = msgspec.json.encode


_FIXED = ("messages", "model", "stream")
_SETTINGS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_tokens": "",
    "stop": "stop",
    "seed": "",
    "top_k": "",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "reasoning_effort": "reasoning_effort",
    "verbosity": "verbosity",
    "service_tier": "service_tier",
}
"""Their names by ours; those that are "" here depend on the server."""


def encode_frame(prompt: Prompt, dialect: ChatDialect, provider: str) -> Frame:
    """What stands around the messages; keys in a fixed order."""
    leading: tuple[bytes, ...] = ()
    if prompt.system:
        leading = (_system(prompt.system),)
    trailing = b""
    fields: dict[str, Any] = {"model": prompt.model}
    if prompt.tools:
        fields["tools"] = [function_tool(tool) for tool in prompt.tools]
        fields |= tool_settings(prompt.settings, _named)
    if prompt.output is not None:
        if dialect.json_schema:
            fields["response_format"] = _response_format(prompt.output)
        else:
            fields["response_format"] = {"type": "json_object"}
            trailing = b"," + _system(_told(prompt.output))
    fields |= settings_fields(prompt.settings, _names(prompt.model, dialect), provider)
    if prompt.stream:
        fields["stream"] = True
        if dialect.stream_options:
            fields["stream_options"] = {"include_usage": True}
    fields = with_extra(fields, prompt.settings, _FIXED)
    return Frame(b'{"messages":[', leading, trailing + b"]," + _encode(fields)[1:])


def _names(model: str, dialect: ChatDialect) -> dict[str, str]:
    names = {**_SETTINGS, "max_tokens": dialect.limit(model), "seed": dialect.seed}
    if dialect.top_k:
        return {**names, "top_k": "top_k"}
    del names["top_k"]
    return names


def _system(text: str) -> bytes:
    return _encode({"role": "system", "content": text})


def _told(output: OutputSchema) -> str:
    """The schema in words, for a server that only promises JSON."""
    schema = bytes(output.schema).decode()
    return f"Answer with one JSON object that fits this JSON Schema, and nothing else:\n{schema}"


def _named(tool: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": tool}}


def _response_format(output: OutputSchema) -> dict[str, Any]:
    schema = from_raw(output.schema)
    strict = strict_schema(schema)
    named: dict[str, Any] = {"name": output.name, "schema": strict or schema}
    if strict is not None:
        named["strict"] = True
    return {"type": "json_schema", "json_schema": named}
