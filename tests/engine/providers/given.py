"""What the tests of all protocols share: a provider of each, prompts, and the bodies of both."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from agent.engine.provider import MessageContext, Prompt, Provider
from agent.engine.providers import protocol_of
from agent.engine.providers.served import ServedProvider
from agent.engine.providers.vendors import VENDORS
from agent.engine.request import message_context
from agent.eventstore.messages import Message, ToolCallPart
from agent.eventstore.values import Settings, ToolDefinition

ONE_OF_EACH_API = sorted({vendor.api: name for name, vendor in VENDORS.items()}.values())

PARAMETERS = b'{"type":"object","properties":{"b":{},"a":{}}}'
WEATHER = ToolDefinition("get_weather", "Get it.", msgspec.Raw(PARAMETERS))


def provider_of(name: str) -> ServedProvider[Any]:
    """A provider by its name, at an address that is not its vendor's."""
    made, vendor = protocol_of(name)
    return made(vendor, base_url="http://localhost")


def prompt(model: str = "m", **given: Any) -> Prompt:
    """A prompt that says nothing but what is given."""
    nothing = {"system": None, "tools": (), "settings": Settings(), "output": None, "stream": False}
    return Prompt(model, **{**nothing, **given})


def context(message: Message, model: str, *calls: ToolCallPart) -> MessageContext:
    """What a message is encoded with, its attachments at hand; ``calls`` are what it answers."""
    return message_context(message, Message.assistant(*calls), model, {})


def body_of(provider: Provider, messages: Sequence[Message], prompt: Prompt) -> Any:
    """The body that says all this, as the engine puts it together, decoded."""
    frame = provider.encode_frame(prompt)
    items = list(frame.leading)
    for before, message in zip((None, *messages), messages, strict=False):
        known = message_context(message, before, prompt.model, {})
        items += provider.encode_message(message, known)
    return json.loads(frame.start + b",".join(items) + frame.end)
