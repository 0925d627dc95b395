import pytest

from agent import Agent, Message
from agent.engine.errors import (
    AuthenticationFailed,
    ConfigurationError,
    MissingAPIKey,
    ModelNotFound,
    ProviderError,
)
from agent.engine.providers import connect
from agent.engine.providers.chat_completions.api import ChatCompletions
from agent.engine.providers.vendors import OPENAI
from tests.fakes import ChatServer, Error, RawBody, Text

KEY = "sk-proj-0123456789"


def ask(provider: ChatCompletions) -> str:
    """One turn without retries."""
    with Agent(provider, model="gpt-4o", max_retries=0) as agent:
        return agent.session().run("Hello").text


def provider(server: ChatServer, key: str = KEY) -> ChatCompletions:
    """OpenAI's protocol, spoken to the fake server."""
    return ChatCompletions(OPENAI, base_url=server.base_url, api_key=key)


@pytest.mark.parametrize(
    ("base_url", "encoder"),
    [
        (None, "chat_completions/1"),
        ("https://api.openai.com/v1/", "chat_completions/1"),
        ("https://eu.api.openai.com/v1", "chat_completions/1"),
        ("https://mine.openai.azure.com/openai/v1", "chat_completions/1"),
        ("http://localhost:11434/v1", "chat_completions/1+max_tokens"),
        ("https://openai.example.com/v1", "chat_completions/1+max_tokens"),
        ("https://notopenai.com/v1", "chat_completions/1+max_tokens"),
    ],
)
def test_the_dialect_is_known_by_the_host(base_url: str | None, encoder: str) -> None:
    """OpenAI's own servers take the newer name of the token limit."""
    assert ChatCompletions(OPENAI, base_url=base_url).encoder == encoder


def test_where_the_settings_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments come before the environment, and that before the default."""
    assert ChatCompletions(OPENAI).base_url == "https://api.openai.com/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", " http://localhost:1/v1/ ")
    assert ChatCompletions(OPENAI).base_url == "http://localhost:1/v1"
    assert (
        ChatCompletions(OPENAI, base_url="http://localhost:2/v1").base_url
        == "http://localhost:2/v1"
    )


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("localhost:8000/v1", "needs a scheme and a host"),
        ("example.com/v1", "needs a scheme and a host"),
        ("ftp://example.com", "needs a scheme and a host"),
        ("https:///v1", "needs a scheme and a host"),
        ("https://[::1/v1", "needs a scheme and a host"),
        ("https://example.com:port/v1", "needs a scheme and a host"),
        (f"https://user:{KEY}@example.com/v1", "a key goes into api_key"),
        (f"https://example.com/v1?key={KEY}", "a key goes into api_key"),
        (KEY, "needs a scheme and a host"),
    ],
)
def test_an_address_that_cannot_work(url: str, words: str) -> None:
    """It is refused at once, and not repeated: there may be a key in it."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        connect("openai", base_url=url, api_key=None, timeout=1)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("key", ["sk-\u2026abc", "sk-\x00abc", "sk\nabc"])
def test_a_key_that_no_header_can_carry(key: str) -> None:
    """It is refused at once, and not repeated."""
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY") as caught:
        ChatCompletions(OPENAI, api_key=key)
    assert "abc" not in str(caught.value)


def test_a_key_from_a_file(chat_server: ChatServer) -> None:
    """The line end of a file does no harm."""
    assert ask(provider(chat_server, f" {KEY}\n")) == "I see 1 messages. You said: Hello"
    assert chat_server.requests[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("base_url", [None, "https://api.openai.com/v1"])
def test_openai_needs_a_key(base_url: str | None) -> None:
    """Its absence is noticed before anything is sent."""
    with pytest.raises(MissingAPIKey, match=r"pass api_key=\.\.\. or set OPENAI_API_KEY"):
        ask(ChatCompletions(OPENAI, base_url=base_url))


def test_another_server_may_do_without_a_key(chat_server: ChatServer) -> None:
    """Only the server can tell; this one wants a key, and the error says where it is looked for."""
    with pytest.raises(AuthenticationFailed, match="api_key or OPENAI_API_KEY"):
        ask(ChatCompletions(OPENAI, base_url=chat_server.base_url))
    assert "authorization" not in chat_server.requests[0].headers


def test_a_wrong_address_is_named(chat_server: ChatServer) -> None:
    """A 404 names model and address."""
    url = chat_server.base_url.removesuffix("/v1") + "/v2"
    with pytest.raises(ModelNotFound) as caught:
        ask(ChatCompletions(OPENAI, base_url=url, api_key=KEY))
    assert f"check the model 'gpt-4o' and the base URL '{url}'" in str(caught.value)


@pytest.mark.parametrize(
    "reply",
    [
        Error(401, {"error": {"message": f"Bad key {KEY}", "type": KEY, "code": KEY}}),
        Error(401, f"Bad key: Bearer {KEY}".encode()),
        Error(500, {"error": {"message": f"Bad key {KEY}"}}, {"x-request-id": KEY}),
        RawBody(200, f"Bad key {KEY}".encode()),
        RawBody(200, f'{{"error": "Bad key {KEY}"}}'.encode()),
        RawBody(302, b"", {"location": f"https://example.com/?key={KEY}"}),
        RawBody(200, b"", {"content-type": f"text/html; {KEY}"}),
    ],
)
def test_the_key_is_never_shown(chat_server: ChatServer, reply: Error | RawBody) -> None:
    """Not even where the server repeats it."""
    chat_server.script([reply])
    with pytest.raises(ProviderError) as caught:
        ask(provider(chat_server))
    error = caught.value
    shown = [str(error), repr(error), error.type, error.code, error.request_id]
    assert KEY not in str(shown)
    assert "[key]" in str(shown)


def test_a_key_too_short_to_be_one_is_no_secret(chat_server: ChatServer) -> None:
    """Words that happen to contain it stay readable."""
    chat_server.script([Error(400, {"error": {"message": "no such thing"}})])
    with pytest.raises(ProviderError, match="no such thing"):
        ask(provider(chat_server, "no"))


def test_a_conversation_with_everything(chat_server: ChatServer) -> None:
    """Streamed and whole turns give the same; the server finds nothing wrong with either."""
    chat_server.script([Text("Grüße"), Text("Grüße")])
    with Agent(provider(chat_server), model="gpt-4o") as agent:
        session = agent.session(messages=[Message.user("a"), Message.assistant("b")])
        streamed = [event.text for event in session.stream("c") if event.type == "text_delta"]
        assert "".join(streamed) == session.run("d").text == "Grüße"
    assert [body.get("stream") for body in chat_server.bodies] == [True, None]
