"""What stands around the messages of a Messages request: model, system, tools, settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agent.engine.errors import ConfigurationError
from agent.engine.provider import Frame
from agent.engine.providers.fields import settings_fields, with_extra
from agent.engine.providers.strict_schema import ANTHROPIC, strict_schema
from agent.eventstore.rawjson import from_raw

if TYPE_CHECKING:
    from agent.engine.provider import Prompt
    from agent.engine.providers.vendors import MessagesDialect
    from agent.eventstore.values import OutputSchema, Settings, ToolDefinition

_encode = msgspec.json.encode

_FIXED = ("messages", "model", "stream", "system")
_SETTINGS = {
    "max_tokens": "max_tokens",
    "reasoning_budget": "thinking",
    "show_reasoning": "thinking",
    "reasoning_effort": "output_config",
    "stop": "stop_sequences",
    "service_tier": "service_tier",
    "prompt_cache": "cache_control",
}
_SAMPLING = {"temperature": "temperature", "top_p": "top_p", "top_k": "top_k"}
_CHOICES = {"auto": "auto", "none": "none", "required": "any"}
_LIFETIMES = ("5m", "1h")


def encode_frame(prompt: Prompt, dialect: MessagesDialect, provider: str) -> Frame:
    """What stands around the messages; keys in a fixed order."""
    settings = prompt.settings
    names = {**_SETTINGS, **(_SAMPLING if dialect.sampling else {})}
    schema = _strict(prompt.output)
    fields: dict[str, Any] = {
        "model": prompt.model,
        "max_tokens": dialect.limit(prompt.model) + (settings.reasoning_budget or 0),
    }
    system = _system(prompt, asked_in_words=prompt.output is not None and schema is None)
    if system:
        fields["system"] = system
    if prompt.tools:
        fields["tools"] = [_tool_definition(tool) for tool in prompt.tools]
        fields |= _tool_choice(settings)
    fields |= settings_fields(settings, names, provider)
    fields |= _thinking(settings) | _output_config(settings, schema) | _cache_control(settings)
    if prompt.stream:
        fields["stream"] = True
    fields = with_extra(fields, settings, _FIXED)
    return Frame(b'{"messages":[', (), b"]," + _encode(fields)[1:])


def _system(prompt: Prompt, *, asked_in_words: bool) -> list[dict[str, str]]:
    """The system prompt, with the shape of the answer where the API cannot enforce it."""
    texts = [prompt.system] if prompt.system and prompt.system.strip() else []
    if asked_in_words and prompt.output is not None:
        schema = bytes(prompt.output.schema).decode()
        texts.append(f"Answer with JSON alone, which fits this JSON Schema: {schema}")
    return [{"type": "text", "text": text} for text in texts]


def _strict(output: OutputSchema | None) -> dict[str, Any] | None:
    return None if output is None else strict_schema(from_raw(output.schema), ANTHROPIC)


def _tool_definition(tool: ToolDefinition) -> dict[str, Any]:
    described = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **described, "input_schema": tool.parameters}


def _tool_choice(settings: Settings) -> dict[str, Any]:
    name, parallel = settings.tool_choice, settings.parallel_tool_calls
    if name is None and parallel is None:
        return {}
    known = _CHOICES.get(name or "auto")
    choice: dict[str, Any] = {"type": known} if known else {"type": "tool", "name": name}
    if parallel is not None and known != "none":
        choice["disable_parallel_tool_use"] = not parallel
    return {"tool_choice": choice}


def _thinking(settings: Settings) -> dict[str, Any]:
    """A budget of 0 is none; reasoning that is only to be shown is as long as the model likes."""
    budget, shown = settings.reasoning_budget, settings.show_reasoning
    if budget is None and shown is None:
        return {}
    if budget == 0:
        return {"thinking": {"type": "disabled"}}
    mode = {"type": "adaptive"} if budget is None else {"type": "enabled", "budget_tokens": budget}
    display = {} if shown is None else {"display": "summarized" if shown else "omitted"}
    return {"thinking": {**mode, **display}}


def _output_config(settings: Settings, schema: dict[str, Any] | None) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if settings.reasoning_effort is not None:
        config["effort"] = settings.reasoning_effort
    if schema is not None:
        config["format"] = {"type": "json_schema", "schema": schema}
    return {"output_config": config} if config else {}


def _cache_control(settings: Settings) -> dict[str, Any]:
    lifetime = settings.prompt_cache
    if lifetime is None:
        return {}
    if lifetime not in _LIFETIMES:
        raise ConfigurationError(f'prompt_cache is "5m" or "1h", not {lifetime!r}')
    return {"cache_control": {"type": "ephemeral", "ttl": lifetime}}
