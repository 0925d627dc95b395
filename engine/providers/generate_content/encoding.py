"""Conversations to the body of a ``generateContent`` request.

``contents`` follows the system instruction and precedes everything that varies from turn to turn,
so that the bytes of the history never change.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from agent.engine.provider import Frame
from agent.engine.providers.fields import (
    check_several_calls,
    in_call_order,
    settings_fields,
    with_extra,
)
from agent.engine.providers.generate_content.parts import SIGNATURE, write_part
from agent.engine.providers.wire import Object, as_object
from agent.eventstore.messages import FilePart, ImagePart, TextPart

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent.engine.provider import MessageContext, Prompt
    from agent.engine.providers.origin import Origin
    from agent.eventstore.messages import Message, Part, ToolCallPart, ToolResultPart
    from agent.eventstore.values import OutputSchema, Settings, ToolDefinition

_encode = msgspec.json.encode

_FIXED = ("contents", "systemInstruction", "system_instruction", "model", "stream")
_SETTINGS = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "max_tokens": "maxOutputTokens",
    "stop": "stopSequences",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "reasoning_budget": "thinkingBudget",
    "reasoning_effort": "thinkingLevel",
    "show_reasoning": "includeThoughts",
    "service_tier": "serviceTier",
}
_THINKING = ("thinkingBudget", "thinkingLevel", "includeThoughts")
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}

_UNSIGNED = re.compile(r"(^|/)gemini-(?![12]\b)")
"""Models that refuse a history in which the first call of an answer has no signature."""

_ANY_SIGNATURE = "skip_thought_signature_validator"
"""What they take for the signature of a call that another model made.

Source: https://ai.google.dev/gemini-api/docs/thought-signatures
"""


def encode_message(message: Message, context: MessageContext, origin: Origin) -> Sequence[bytes]:
    """A message as items of ``contents``: one, none for an answer that says nothing.

    What tools returned besides text follows in an item of its own.
    """
    match message.role:
        case "user":
            parts = _parts(message.parts, context, origin) or [{"text": ""}]
            return [_content("user", parts)]
        case "assistant":
            parts = _signed(_parts(message.parts, context, origin), context.model)
            return [_content("model", parts)] if parts else []
        case "tool":
            return _tool(message.tool_results, context, origin)


def _content(role: str, parts: Sequence[Object]) -> bytes:
    return _encode({"role": role, "parts": parts})


def _parts(parts: Iterable[Part], context: MessageContext, origin: Origin) -> list[Object]:
    written = (write_part(part, context.attachments, origin) for part in parts)
    return [item for item in written if item]


def _signed(parts: list[Object], model: str) -> list[Object]:
    """The same with a signature on the first call, where the model insists."""
    for place, item in enumerate(parts):
        if "functionCall" in item:
            if SIGNATURE not in item and _UNSIGNED.search(model):
                return [*parts[:place], {**item, SIGNATURE: _ANY_SIGNATURE}, *parts[place + 1 :]]
            break
    return parts


def _tool(
    results: Sequence[ToolResultPart], context: MessageContext, origin: Origin
) -> Sequence[bytes]:
    """All results in one item, in the order of their calls."""
    answers: list[Object] = []
    shown: list[Part] = []
    for result in in_call_order(results, context.calls):
        call = context.calls.get(result.call_id)
        answers.append(_result(result, call, origin))
        seen = [part for part in result.content if isinstance(part, ImagePart | FilePart)]
        if seen:
            name = call.name if call else "a tool"
            shown += [TextPart(f"Returned by {name}:"), *seen]
    more = [_content("user", _parts(shown, context, origin))] if shown else []
    return [_content("user", answers), *more]


def _result(result: ToolResultPart, call: ToolCallPart | None, origin: Origin) -> Object:
    own = origin.own(result.opaque)
    if own is not None:
        return own
    said: Object = {"name": call.name if call else "unknown"}
    asked = as_object((origin.own(call.opaque) or {}).get("functionCall")) if call else {}
    if asked.get("id"):
        said["id"] = asked["id"]
    return {"functionResponse": {**said, "response": _response(result)}}


def _response(result: ToolResultPart) -> Object:
    return {"error" if result.is_error else "output": result.text}


def encode_frame(prompt: Prompt, provider: str) -> Frame:
    """What stands around the messages; keys in a fixed order."""
    system: dict[str, Any] = {}
    if prompt.system:
        system["systemInstruction"] = {"parts": [{"text": prompt.system}]}
    start = _encode(system)[:-1] + (b"," if system else b"") + b'"contents":['
    fields: dict[str, Any] = {}
    if prompt.tools:
        fields["tools"] = [{"functionDeclarations": [_declaration(tool) for tool in prompt.tools]}]
        fields |= _tool_config(prompt.settings, provider)
    config = _config(prompt, provider)
    tier = config.pop("serviceTier", None)
    fields |= {"generationConfig": config} if config else {}
    fields |= {"serviceTier": tier} if tier else {}
    fields = with_extra(fields, prompt.settings, _FIXED)
    return Frame(start, (), b"]" + (b"," if fields else b"") + _encode(fields)[1:])


def _config(prompt: Prompt, provider: str) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if prompt.output is not None:
        config |= _output(prompt.output)
    config |= settings_fields(prompt.settings, _SETTINGS, provider)
    thinking = {key: config.pop(key) for key in _THINKING if key in config}
    if "thinkingLevel" in thinking:
        thinking["thinkingLevel"] = thinking["thinkingLevel"].upper()
    return {**config, "thinkingConfig": thinking} if thinking else config


def _output(output: OutputSchema) -> dict[str, Any]:
    return {"responseMimeType": "application/json", "responseJsonSchema": output.schema}


def _declaration(tool: ToolDefinition) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "parametersJsonSchema": tool.parameters,
    }


def _tool_config(settings: Settings, provider: str) -> dict[str, Any]:
    check_several_calls(settings, provider)
    choice = settings.tool_choice
    if choice is None:
        return {}
    config: dict[str, Any] = {"mode": _MODES.get(choice, "ANY")}
    if choice not in _MODES:
        config["allowedFunctionNames"] = [choice]
    return {"toolConfig": {"functionCallingConfig": config}}
