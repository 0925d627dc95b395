"""A turn with a tool call, recorded with one protocol and taken again with another."""

import contextlib
import itertools
from collections.abc import Iterator

import pytest

from agent import Agent, Session
from agent.engine.provider import Provider
from agent.engine.providers.chat_completions.api import ChatCompletions
from agent.engine.providers.generate_content.api import GenerateContent
from agent.engine.providers.messages.api import Messages
from agent.engine.providers.ollama_chat.api import OllamaChat
from agent.engine.providers.responses.api import Responses
from agent.engine.providers.vendors import ANTHROPIC, GEMINI, OLLAMA, OPENAI, OPENAI_RESPONSES
from tests.engine.given import kinds
from tests.engine.providers.messages import given as messages
from tests.engine.reruns import asked, own, told
from tests.fakes import ChatServer, Text, ToolCalls
from tests.fakes.gemini_server import KEY, GeminiServer
from tests.fakes.messages_server import MessagesServer, Reply
from tests.fakes.ollama_server import OllamaServer
from tests.fakes.responses_server import ResponsesServer

TOWNS: list[str] = []


def get_weather(city: str) -> str:
    """Get the weather of a city."""
    TOWNS.append(city)
    return f"21 degrees in {city}"


def said(*blocks: messages.Block, stop: str = "end_turn") -> Reply:
    """An answer of Anthropic's."""
    return Reply(messages.body(*blocks, stop_reason=stop), messages.stream(*blocks, stop=stop))


CALL, SO = "get_weather", "So."


class Models:
    """One agent for each protocol, and what their models say next. Ids and thoughts differ."""

    def __init__(self, servers: contextlib.ExitStack) -> None:
        self.chat = servers.enter_context(ChatServer())
        self.responses = servers.enter_context(ResponsesServer())
        self.messages = servers.enter_context(MessagesServer())
        self.gemini = servers.enter_context(GeminiServer())
        self.ollama = servers.enter_context(OllamaServer())
        self._count = itertools.count()
        providers: list[tuple[str, Provider, str]] = [
            ("chat", ChatCompletions(OPENAI, base_url=self.chat.base_url, api_key="sk"), "gpt-4o"),
            (
                "responses",
                Responses(OPENAI_RESPONSES, base_url=self.responses.base_url, api_key="sk"),
                "gpt-5",
            ),
            (
                "messages",
                Messages(ANTHROPIC, base_url=self.messages.base_url, api_key="sk-ant-0123456789"),
                "claude-sonnet-4-5",
            ),
            (
                "gemini",
                GenerateContent(GEMINI, base_url=self.gemini.base_url, api_key=KEY),
                "gemini-3-pro",
            ),
            ("ollama", OllamaChat(OLLAMA, base_url=self.ollama.url), "llama3.2"),
        ]
        for _, provider, _ in providers:
            servers.callback(provider.close)
        self.agents = {
            name: Agent(provider, model, tools=[get_weather], max_retries=0)
            for name, provider, model in providers
        }

    def say(self, protocol: str, *lines: str) -> Agent:
        """Have a model say lines, of which CALL calls the tool."""
        for line in lines:
            self._say(protocol, next(self._count), None if line is CALL else line)
        return self.agents[protocol]

    def _say(self, protocol: str, turn: int, text: str | None) -> None:
        call = ToolCalls([(CALL, '{"city":"Oslo"}', f"call_{turn}")])
        used = messages.tool_use(CALL, {"city": "Oslo"}, f"toolu_{turn}")
        function = {"name": CALL, "arguments": {"city": "Oslo"}}
        asked = {"name": CALL, "args": {"city": "Oslo"}, "id": f"g{turn}"}
        signed = {"functionCall": asked, "thoughtSignature": f"c2l{turn % 10}"}
        match protocol:
            case "chat":
                self.chat.script([Text(text) if text else call])
            case "responses":
                self.responses.script([Text(text) if text else call])
            case "messages" if text:
                self.messages.script(said(messages.text(text)))
            case "messages":
                thought = messages.thinking(f"Hm {turn}")
                self.messages.script(said(thought, used, stop="tool_use"))
            case "gemini":
                self.gemini.script.append([{"text": text} if text else signed])
            case _:
                called = {"tool_calls": [{"id": f"o{turn}", "function": function}]}
                self.ollama.script.append({"content": text} if text else called)


@pytest.fixture
def models() -> Iterator[Models]:
    """The models, each behind a server that finds nothing wrong with what it is sent."""
    TOWNS.clear()
    with contextlib.ExitStack() as servers:
        yield Models(servers)


PROTOCOLS = ("chat", "responses", "messages", "gemini", "ollama")
TAKEN = [
    *("session.forked", "tools.declared", "turn.started", "model.requested", "model.responded"),
    *("tool.resolved", "model.requested", "model.responded", "turn.completed"),
]


@pytest.mark.parametrize("first", PROTOCOLS)
@pytest.mark.parametrize("then", PROTOCOLS)
def test_another_provider_takes_the_turn(models: Models, first: str, then: str) -> None:
    """It is asked for its own model; the recorded result is served, and nothing departs."""
    session = models.say(first, CALL, SO).session(system="Be brief.")
    session.run("Weather?")
    agent = models.say(then, CALL, SO, "Bye")
    rerun = Session.from_dict(session.to_dict(), agent).rerun()
    assert rerun.error is None
    assert (own(rerun), rerun.departure) == (TAKEN, None)
    assert [text for _, text, _ in told(rerun)] == ["21 degrees in Oslo"]
    assert {past.prompt.model for past in asked(rerun)} == {agent.model}
    assert TOWNS == ["Oslo"]
    assert rerun.session.run("And now?").text == "Bye"


@pytest.mark.parametrize("first", PROTOCOLS)
@pytest.mark.parametrize("then", PROTOCOLS)
def test_another_provider_goes_on_with_the_turn(models: Models, first: str, then: str) -> None:
    """From the result on, or with another one."""
    session = models.say(first, CALL, SO).session(system="Be brief.")
    session.run("Weather?")
    agent = models.say(then, SO, "Wet.")
    moved = Session.from_dict(session.to_dict(), agent)
    returned = kinds(moved).index("tool.returned") + 1
    same, edited = moved.rerun(returned), moved.rerun(edit={returned: "Rain"})
    assert (same.error, same.departure, edited.error) == (None, None, None)
    for rerun in (same, edited):
        assert {past.prompt.model for past in asked(rerun)} == {agent.model}
        assert rerun.plan.model == agent.model
    assert edited.response is not None
    assert (edited.response.text, TOWNS) == ("Wet.", ["Oslo"])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_chance(models: Models, protocol: str) -> None:
    """New ids, signatures and thoughts of a model are no other history."""
    session = models.say(protocol, CALL, SO, CALL, "Well.").session()
    session.run("Weather?")
    found = session.rerun().departure
    assert found is not None
    assert (found.kind, found.causes) == ("answer", ("sampling",))
