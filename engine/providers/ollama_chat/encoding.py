"""Conversations to the body of an ``/api/chat`` request.

``messages`` comes first and everything that varies from turn to turn after it, so that the bytes
of the history never change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agent.engine.errors import ConfigurationError
from agent.engine.provider import Frame
from agent.engine.providers.fields import (
    base64_of,
    check_several_calls,
    function_tool,
    in_call_order,
    settings_fields,
    with_extra,
)
from agent.engine.providers.wire import Object, as_string
from agent.eventstore.messages import (
    FilePart,
    ImagePart,
    Link,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.engine.provider import MessageContext, Prompt
    from agent.engine.providers.origin import Origin
    from agent.eventstore.messages import Message, ToolResultPart
    from agent.eventstore.values import Settings

_encode = msgspec.json.encode

_FIXED = ("messages", "model", "stream")
_SETTINGS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "max_tokens": "num_predict",
    "stop": "stop",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "reasoning_effort": "effort",
    "show_reasoning": "shown",
}
"""Their names among the options by ours; the last two become ``think``."""


def encode_message(message: Message, context: MessageContext, origin: Origin) -> Sequence[bytes]:
    """A message as items of ``messages``."""
    match message.role:
        case "user":
            return [_encode(_user(message.parts, context.attachments))]
        case "assistant":
            return [_encode(_assistant(message, origin))]
        case "tool":
            return _tool(message.tool_results, context, origin)


def _user(parts: Sequence[Part], attachments: Mapping[str, bytes]) -> Object:
    images = [_image(part, attachments) for part in parts if isinstance(part, ImagePart | FilePart)]
    text = "".join(part.text for part in parts if isinstance(part, TextPart))
    item: Object = {"role": "user", "content": text}
    return {**item, "images": images} if images else item


def _image(part: ImagePart | FilePart, attachments: Mapping[str, bytes]) -> str:
    if isinstance(part, FilePart):
        named = part.name or part.media_type
        raise ConfigurationError(f"Ollama takes images, but no other file: {named}; send its text")
    if isinstance(part.source, Link):
        raise ConfigurationError(f"Ollama takes no linked image: {part.source.url}; send its bytes")
    return base64_of(part.source, attachments)


def _assistant(message: Message, origin: Origin) -> Object:
    item: Object = {"role": "assistant", "content": message.text + (message.refusal or "")}
    thinking = "".join(
        part.text
        for part in message.parts
        if isinstance(part, ReasoningPart) and origin.own(part.opaque) is not None
    )
    if thinking:
        item["thinking"] = thinking
    if message.tool_calls:
        item["tool_calls"] = [_call(part, origin) for part in message.tool_calls]
    return item


def _call(part: ToolCallPart, origin: Origin) -> Object:
    arguments = msgspec.Raw(part.valid_arguments.encode())
    canonical = {"function": {"name": part.name, "arguments": arguments}}
    return origin.own(part.opaque) or canonical


def _tool(
    results: Sequence[ToolResultPart], context: MessageContext, origin: Origin
) -> Sequence[bytes]:
    """One item a result, in the order of the calls: two of one tool are told apart by nothing else.

    A result takes only text: images follow in a user message.
    """
    items: list[Object] = []
    shown: list[Part] = []
    for result in in_call_order(results, context.calls):
        call = context.calls.get(result.call_id)
        items.append(_result(result, call, origin))
        seen = [_shown(part) for part in result.content if isinstance(part, ImagePart | FilePart)]
        if seen:
            name = call.name if call else "a tool"
            shown += [TextPart(f"Returned by {name}:\n"), *seen]
    if shown:
        items.append(_user(shown, context.attachments))
    return [_encode(item) for item in items]


def _shown(part: ImagePart | FilePart) -> Part:
    """What is no image is named: what a tool has returned must not end the session."""
    if isinstance(part.source, Link):
        return TextPart(f"{part.source.url}\n")
    if isinstance(part, FilePart):
        return TextPart(f"[file: {part.name or part.media_type}]\n")
    return part


def _result(result: ToolResultPart, call: ToolCallPart | None, origin: Origin) -> Object:
    item: Object = {"role": "tool", "content": result.text}
    if call is None:
        return item
    item["tool_name"] = call.name
    provider_id = as_string((origin.own(call.opaque) or {}).get("id"))
    return {**item, "tool_call_id": provider_id} if provider_id else item


def encode_frame(prompt: Prompt, provider: str) -> Frame:
    """What stands around the messages; keys in a fixed order."""
    leading: tuple[bytes, ...] = ()
    if prompt.system:
        leading = (_encode({"role": "system", "content": prompt.system}),)
    fields: dict[str, Any] = {"model": prompt.model, "stream": prompt.stream}
    if prompt.tools and _may_call(prompt.settings, provider):
        fields["tools"] = [function_tool(tool) for tool in prompt.tools]
    if prompt.output is not None:
        fields["format"] = prompt.output.schema
    options = settings_fields(prompt.settings, _SETTINGS, provider)
    effort, shown = options.pop("effort", None), options.pop("shown", None)
    if effort is not None or shown is not None:
        fields["think"] = shown if effort is None else effort != "none" and effort
    if options:
        fields["options"] = options
    fields = with_extra(fields, prompt.settings, _FIXED)
    return Frame(b'{"messages":[', leading, b"]," + _encode(fields)[1:])


def _may_call(settings: Settings, provider: str) -> bool:
    """Whether the model is shown its tools. Raises for a choice that no server would heed."""
    check_several_calls(settings, provider)
    if settings.tool_choice not in (None, "auto", "none"):
        raise ConfigurationError(
            f"{provider} cannot be made to call a tool: tool_choice takes 'auto' or 'none', not "
            f"{settings.tool_choice!r}; ask for the call in the prompt"
        )
    return settings.tool_choice != "none"
