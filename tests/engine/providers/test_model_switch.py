"""A conversation that goes on with another provider, whose server finds nothing wrong with it."""

from collections.abc import Iterator

import pytest

from agent import Agent, Session, tool
from agent.engine.providers.chat_completions.api import ChatCompletions
from agent.engine.providers.generate_content.api import GenerateContent
from agent.engine.providers.ollama_chat.api import OllamaChat
from agent.engine.providers.vendors import GEMINI, OLLAMA, OPENAI
from tests.fakes import ChatServer, Text, ToolCalls
from tests.fakes.gemini_server import KEY, GeminiServer
from tests.fakes.ollama_server import OllamaServer


@tool
def get_weather(city: str) -> str:
    """Get the weather of a city."""
    return f"21 degrees in {city}"


@pytest.fixture
def agents() -> Iterator[dict[str, Agent]]:
    """One for each protocol; each has a turn with two calls, the second with bad arguments."""
    signed = {"thoughtSignature": "c2ln"}
    with ChatServer() as chat, GeminiServer() as gemini, OllamaServer() as ollama:
        calls = [("get_weather", '{"city":"Oslo"}', "call_1"), ("get_weather", "{", "call_2")]
        chat.script([ToolCalls(calls), Text("So.")])
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


@pytest.mark.parametrize("first", ["chat", "gemini", "ollama"])
@pytest.mark.parametrize("then", ["chat", "gemini", "ollama"])
def test_another_provider_takes_the_history(
    agents: dict[str, Agent], first: str, then: str
) -> None:
    """Calls, results and texts; and the first takes it back after that."""
    session = agents[first].session(system="Be brief.")
    assert session.run("Weather?").text == "So."
    moved = Session.from_dict(session.to_dict(), agents[then])
    assert moved.run("And now?").text
    back = Session.from_dict(moved.to_dict(), agents[first])
    assert back.run("Thanks").text
