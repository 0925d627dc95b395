"""What stands around the items of a Responses request.

``instructions`` and ``input`` come first and everything that varies from turn to turn after them,
so that the bytes of the history never change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.engine.provider import Frame
from agent.engine.providers.fields import (
    joined_fields,
    settings_fields,
    tool_settings,
    with_extra,
)
from agent.engine.providers.strict_schema import strict_schema
from agent.eventstore.rawjson import from_raw

if TYPE_CHECKING:
    from agent.engine.provider import Prompt
    from agent.engine.providers.vendors import ResponsesDialect
    from agent.engine.providers.wire import Object
    from agent.eventstore.values import OutputSchema, Settings, ToolDefinition

_encode = msgspec.json.encode

_FIXED = (
    *("instructions", "input", "model", "stream", "store"),
    *("previous_response_id", "conversation", "background"),
)
_SETTINGS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "show_reasoning": "reasoning.summary",
    "verbosity": "text.verbosity",
    "service_tier": "service_tier",
}
"""Their places by our names."""


def encode_frame(prompt: Prompt, dialect: ResponsesDialect, provider: str) -> Frame:
    """What stands around the messages; keys in a fixed order."""
    system = {"instructions": prompt.system} if prompt.system else {}
    start = _encode({**system, "input": []}).removesuffix(b"]}")
    fields: Object = {"model": prompt.model}
    if prompt.tools:
        fields["tools"] = [_tool_definition(tool) for tool in prompt.tools]
        fields |= tool_settings(prompt.settings, _named)
    if prompt.output is not None:
        fields["text"] = {"format": _format(prompt.output)}
    fields = joined_fields(fields, _settings(prompt.settings, provider))
    fields["store"] = False
    if dialect.reasons(prompt.model):
        fields["include"] = ["reasoning.encrypted_content"]
    if prompt.stream:
        fields["stream"] = True
    fields = with_extra(fields, prompt.settings, _FIXED)
    return Frame(start, (), b"]," + _encode(fields)[1:])


def _settings(settings: Settings, provider: str) -> Object:
    fields: Object = {}
    for place, value in settings_fields(settings, _SETTINGS, provider).items():
        key, _, inner = place.partition(".")
        if place == "reasoning.summary":
            more: Object = {"reasoning": {"summary": "auto"}} if value else {}
        else:
            more = {key: {inner: value} if inner else value}
        fields = joined_fields(fields, more)
    return fields


def _tool_definition(tool: ToolDefinition) -> Object:
    """A tool; what is not said to be lax is strict in this API."""
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": False,
    }


def _named(tool: str) -> Object:
    return {"type": "function", "name": tool}


def _format(output: OutputSchema) -> Object:
    schema = from_raw(output.schema)
    strict = strict_schema(schema)
    named = {"type": "json_schema", "name": output.name, "schema": strict or schema}
    return {**named, "strict": strict is not None}
