"""An agent for each protocol, over a server that keeps to it."""

from collections.abc import Iterator

import pytest

from agent import Agent, ImagePart, TextPart, tool
from agent.engine.providers.chat_completions.api import ChatCompletions
from agent.engine.providers.generate_content.api import GenerateContent
from agent.engine.providers.messages.api import Messages
from agent.engine.providers.ollama_chat.api import OllamaChat
from agent.engine.providers.responses.api import Responses
from agent.engine.providers.vendors import ANTHROPIC, GEMINI, OLLAMA, OPENAI, OPENAI_RESPONSES
from tests.engine.providers.messages import given as messages
from tests.fakes import ChatServer, Text, ToolCalls
from tests.fakes.gemini_server import KEY, GeminiServer
from tests.fakes.messages_server import MessagesServer, Reply
from tests.fakes.ollama_server import OllamaServer
from tests.fakes.responses_server import ResponsesServer

PROTOCOLS = ("chat", "responses", "messages", "gemini", "ollama")


@tool
def get_weather(city: str) -> list[TextPart | ImagePart]:
    """Get the weather of a city."""
    return [TextPart(f"21 degrees in {city}"), ImagePart.from_bytes(b"\x89PNG")]


CITATION = {
    "type": "web_search_result_location",
    "url": "https://example.org/",
    "title": "Weather",
    "encrypted_index": "c2ln",
    "cited_text": "21 degrees",
}


def said(*blocks: messages.Block, stop: str = "end_turn") -> Reply:
    """An answer of Anthropic's."""
    return Reply(messages.body(*blocks, stop_reason=stop), messages.stream(*blocks, stop=stop))


@pytest.fixture
def agents() -> Iterator[dict[str, Agent]]:
    """One for each protocol; each has a turn with two calls, the second with bad arguments."""
    signed = {"thoughtSignature": "c2ln"}
    with (
        ChatServer() as chat,
        ResponsesServer() as responses,
        MessagesServer() as anthropic,
        GeminiServer() as gemini,
        OllamaServer() as ollama,
    ):
        calls = [("get_weather", '{"city":"Oslo"}', "call_1"), ("get_weather", "{", "call_2")]
        chat.script([ToolCalls(calls), Text("So.")])
        responses.script([ToolCalls(calls), Text("So.")])
        anthropic.script(
            said(
                messages.thinking("Hm"),
                messages.SEARCH,
                messages.FOUND,
                messages.tool_use("get_weather", {"city": "Oslo"}, "toolu_1"),
                messages.tool_use("get_weather", {"town": 1}, "toolu_2"),
                stop="tool_use",
            ),
            said(messages.text("So.", citations=[CITATION])),
            *[said(messages.text("Yes."))] * 3,
        )
        asked = {"name": "get_weather", "args": {"city": "Oslo"}, "id": "g1"}
        gemini.script.append(
            [
                {"text": "Hm", "thought": True},
                {"functionCall": asked, **signed},
                {"functionCall": {"name": "get_weather", "args": {"town": 1}}},
            ]
        )
        gemini.script.append([{"text": "So."}, {"text": "", **signed}])
        functions = [{"name": "get_weather", "arguments": {"city": "Oslo"}}] * 2
        ollama.script.append(
            {"thinking": "Hm", "tool_calls": [{"id": "o1", "function": one} for one in functions]}
        )
        ollama.script.append({"content": "So."})
        made = {
            "chat": (ChatCompletions(OPENAI, base_url=chat.base_url, api_key="sk"), "gpt-4o"),
            "responses": (
                Responses(OPENAI_RESPONSES, base_url=responses.base_url, api_key="sk"),
                "gpt-5",
            ),
            "messages": (
                Messages(ANTHROPIC, base_url=anthropic.base_url, api_key="sk-ant-0123456789"),
                "claude-sonnet-4-5",
            ),
            "gemini": (
                GenerateContent(GEMINI, base_url=gemini.base_url, api_key=KEY),
                "gemini-3-pro",
            ),
            "ollama": (OllamaChat(OLLAMA, base_url=ollama.url), "llama3.2"),
        }
        yield {
            name: Agent(provider, model, tools=[get_weather], max_retries=0)
            for name, (provider, model) in made.items()
        }
        for provider, _ in made.values():
            provider.close()
