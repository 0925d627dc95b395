import json
import os
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fakes import (
    ChatServer,
    CloseConnection,
    Error,
    Hang,
    RawBody,
    Refusal,
    Request,
    Stream,
    Text,
    ToolCalls,
)

ORDERS = {
    "type": "function",
    "function": {
        "name": "get_user_orders",
        "description": "Get orders for a user.",
        "parameters": {
            "type": "object",
            "properties": {"user_id": {"type": "string"}},
            "required": ["user_id"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
SUMMARY = {
    "type": "object",
    "properties": {
        "key_points": {"type": "array", "items": {"$ref": "#/$defs/Point"}},
        "conclusion": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "mood": {"type": "string", "enum": ["good", "bad"]},
        "score": {"type": "number"},
        "final": {"type": "boolean"},
    },
    "required": ["key_points", "conclusion", "mood", "score", "final"],
    "additionalProperties": False,
    "$defs": {
        "Point": {
            "type": "object",
            "properties": {"text": {"type": "string"}},
            "required": ["text"],
            "additionalProperties": False,
        }
    },
}


@pytest.fixture
def client(chat_server: ChatServer) -> Iterator[httpx.Client]:
    """Speak to the fake with a key."""
    headers = {"authorization": "Bearer sk-test"}
    with httpx.Client(base_url=chat_server.base_url, headers=headers, timeout=5) as client:
        yield client


def user(text: str) -> dict[str, Any]:
    """What the user says."""
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    """What the model said."""
    return {"role": "assistant", "content": text}


def calling(*ids: str) -> dict[str, Any]:
    """A message of the model that calls tools."""
    function = {"name": "get_user_orders", "arguments": '{"user_id": "user-123"}'}
    calls = [{"id": one, "type": "function", "function": function} for one in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(call_id: str, text: str = "[]") -> dict[str, Any]:
    """The result of a call."""
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def post(client: httpx.Client, *messages: dict[str, Any], **fields: Any) -> httpx.Response:
    """Ask for a completion."""
    body = {"model": "gpt-4o", "messages": list(messages), **fields}
    return client.post("/chat/completions", json=body)


def said(response: httpx.Response) -> Any:
    """The text of an answer that must have succeeded."""
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]["message"]["content"]


def events(response: httpx.Response) -> list[dict[str, Any]]:
    """The chunks of a whole stream; it must end in [DONE]."""
    blocks = response.text.removesuffix("\n\n").split("\n\n")
    assert blocks[-1] == "data: [DONE]"
    return [json.loads(block.removeprefix("data: ")) for block in blocks[:-1]]


def json_schema(schema: dict[str, Any], *, strict: bool = True) -> dict[str, Any]:
    """A response format."""
    spec = {"name": "Summary", "schema": schema, "strict": strict}
    return {"type": "json_schema", "json_schema": spec}


def test_it_answers_in_the_shape_of_the_api(client: httpx.Client) -> None:
    """A completion has id, resolved model, one choice, usage and a request id."""
    response = post(client, user("Hello"))
    body = response.json()
    assert response.headers["x-request-id"] == "req_00000001"
    assert body["id"] == "chatcmpl-00000001"
    assert body["model"] == "gpt-4o-2024-08-06"
    assert body["choices"][0]["finish_reason"] == "stop"
    assert said(response) == "I see 1 messages. You said: Hello"
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_it_records_requests_and_keeps_connections_alive(
    client: httpx.Client, chat_server: ChatServer
) -> None:
    """Requests on one connection are kept with path, headers, bytes and parsed body."""
    for number in range(3):
        post(client, user(f"Message {number}"))
    last = chat_server.requests[-1]
    assert chat_server.connections == 1
    assert len(chat_server.requests) == 3
    assert (last.method, last.path) == ("POST", "/v1/chat/completions")
    assert last.headers["authorization"] == "Bearer sk-test"
    assert json.loads(last.body) == last.json == chat_server.bodies[-1]
    assert last.messages == [user("Message 2")]


def test_it_reads_chunked_request_bodies(client: httpx.Client) -> None:
    """A body without a length is understood."""
    data = json.dumps({"model": "gpt-4o", "messages": [user("Hi")]}).encode()
    parts = iter([data[:10], data[10:]])
    headers = {"content-type": "application/json"}
    response = client.post("/chat/completions", content=parts, headers=headers)
    assert said(response) == "I see 1 messages. You said: Hi"


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (
            ["My name is Alice", "I'm a software engineer", "What do you know about me?"],
            "I know that your name is Alice and you work as a software engineer.",
        ),
        (["What's the capital of France?", "What about Germany?"], "The capital of Germany"),
        (["I want to visit Tokyo and Kyoto", "What cities are we visiting?"], "Tokyo, Kyoto"),
        (
            ["Tokyo and Kyoto", "Let's focus on Osaka instead", "What cities are we visiting?"],
            "The cities are: Osaka.",
        ),
        (["Let's write a book", "Where were we?"], "You had just said: Let's write a book"),
    ],
)
def test_it_answers_from_the_conversation(
    client: httpx.Client, messages: list[str], expected: str
) -> None:
    """The stand-in model knows what the request holds, and nothing else."""
    history = [turn for text in messages for turn in (user(text), assistant("Noted."))][:-1]
    assert expected in said(post(client, *history))


def test_it_knows_nothing_without_history(client: httpx.Client) -> None:
    """A question alone is answered with ignorance."""
    expected = "You have told me nothing about yourself."
    assert said(post(client, user("What do you know about me?"))) == expected


def test_it_obeys_the_system_prompt_about_code(client: httpx.Client) -> None:
    """A system prompt that asks for code examples gets one."""
    system = {"role": "system", "content": "Always provide code examples."}
    assert "```python" in said(post(client, system, user("How do I read a file?")))


def test_it_cuts_at_max_tokens(client: httpx.Client) -> None:
    """A limit ends the answer with `length`."""
    response = post(client, user("one two three four"), max_tokens=2)
    assert response.json()["choices"][0]["finish_reason"] == "length"
    assert said(response) == "I see "


def test_it_calls_a_tool_that_is_mentioned(client: httpx.Client) -> None:
    """Arguments come from the schema and the text; the result is used and remembered."""
    question = user("I'm user-123, what are my recent orders?")
    choice = post(client, question, tools=[ORDERS]).json()["choices"][0]
    message = choice["message"]
    assert choice["finish_reason"] == "tool_calls"
    assert message["content"] is None
    call = message["tool_calls"][0]
    assert call["function"]["name"] == "get_user_orders"
    assert json.loads(call["function"]["arguments"]) == {"user_id": "user-123"}
    calls = {"role": "assistant", "content": None, "tool_calls": message["tool_calls"]}
    history = [question, calls, result(call["id"], "1 Laptop")]
    answer = said(post(client, *history, tools=[ORDERS]))
    assert answer == "get_user_orders says 1 Laptop."
    later = post(
        client, *history, assistant(answer), user("When will order 1 arrive?"), tools=[ORDERS]
    )
    assert said(later) == "From what I looked up before: 1 Laptop"


def test_it_obeys_tool_choice(client: httpx.Client) -> None:
    """`none` forbids, `required` and a name force a call, after a result too."""
    named = {"type": "function", "function": {"name": "get_user_orders"}}
    silent = post(client, user("My orders?"), tools=[ORDERS], tool_choice="none")
    assert said(silent) == "I see 1 messages. You said: My orders?"
    for choice in ("required", named):
        response = post(client, user("Hello"), tools=[ORDERS], tool_choice=choice)
        assert response.json()["choices"][0]["finish_reason"] == "tool_calls"
        calls = response.json()["choices"][0]["message"]["tool_calls"]
        asked = {"role": "assistant", "content": None, "tool_calls": calls}
        history = [user("Hello"), asked, result(calls[0]["id"], "1 Laptop")]
        again = post(client, *history, tools=[ORDERS], tool_choice=choice)
        assert again.json()["choices"][0]["finish_reason"] == "tool_calls"


def test_it_fits_json_to_the_schema(client: httpx.Client) -> None:
    """References, unions, enums and arrays are filled."""
    text = said(post(client, user("Summarize"), response_format=json_schema(SUMMARY)))
    assert json.loads(text) == {
        "key_points": [{"text": "some text"}],
        "conclusion": "some conclusion",
        "mood": "good",
        "score": 1,
        "final": True,
    }


def test_it_streams_text_in_pieces(client: httpx.Client) -> None:
    """Role chunk, deltas, finish chunk, usage chunk without choices, then [DONE]."""
    response = post(client, user("Hello"), stream=True, stream_options={"include_usage": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    chunks = events(response)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert deltas[0]["role"] == "assistant"
    assert "".join(delta.get("content") or "" for delta in deltas) == (
        "I see 1 messages. You said: Hello"
    )
    assert len(deltas) > 5
    assert chunks[-2]["choices"][0] == {
        "index": 0,
        "delta": {},
        "logprobs": None,
        "finish_reason": "stop",
    }
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["prompt_tokens"] > 0
    assert chunks[0]["usage"] is None


def test_it_streams_no_usage_unless_asked(client: httpx.Client) -> None:
    """Without include_usage no chunk has a usage field."""
    chunks = events(post(client, user("Hello"), stream=True))
    assert [chunk for chunk in chunks if "usage" in chunk] == []


def test_it_streams_tool_calls_in_fragments(client: httpx.Client, chat_server: ChatServer) -> None:
    """Id and name come first; arguments come in pieces under their index."""
    chat_server.script([ToolCalls([("a", '{"x": 12345}', "one"), ("b", "{}", None)], "Wait.")])
    chunks = events(post(client, user("Go"), stream=True))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    parts = [call for delta in deltas for call in delta.get("tool_calls", [])]
    heads = [(part["index"], part["id"]) for part in parts if "id" in part]
    assert heads == [(0, "one"), (1, "call_00000001_1")]
    pieces = [part["function"]["arguments"] for part in parts if part["index"] == 0]
    assert pieces == ["", '{"x": ', "12345}"]
    assert "".join(delta.get("content") or "" for delta in deltas) == "Wait."
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_it_refuses_in_both_ways(client: httpx.Client, chat_server: ChatServer) -> None:
    """A refusal leaves the content null, streamed or not."""
    chat_server.script([Refusal("I can't."), Refusal("I can't.")])
    message = post(client, user("Go")).json()["choices"][0]["message"]
    assert (message["content"], message["refusal"]) == (None, "I can't.")
    chunks = events(post(client, user("Go"), stream=True))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert "".join(delta.get("refusal") or "" for delta in deltas) == "I can't."
    assert [delta for delta in deltas if delta.get("content")] == []


def test_scripted_replies_come_first_and_in_order(
    client: httpx.Client, chat_server: ChatServer
) -> None:
    """Errors, raw bodies and functions of the request are served, then the model again."""

    def count(request: Request) -> Text:
        return Text(f"{len(request.messages)} message")

    raw = RawBody(200, b"not json", {"content-type": "text/plain"})
    chat_server.script([Error(429, headers={"retry-after": "0"}), raw, count])
    limited = post(client, user("Hi"))
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "0")
    assert limited.json()["error"]["code"] == "rate_limit_exceeded"
    assert post(client, user("Hi")).text == "not json"
    assert chat_server.unused == 1
    assert said(post(client, user("Hi"))) == "1 message"
    assert said(post(client, user("Hi"))) == "I see 1 messages. You said: Hi"


def test_invalid_requests_use_up_no_script(client: httpx.Client, chat_server: ChatServer) -> None:
    """A refused request is recorded and leaves the script as it is."""
    chat_server.script([Text("kept")])
    assert post(client).status_code == 400
    assert chat_server.unused == 1
    assert len(chat_server.requests) == 1
    assert said(post(client, user("Hi"))) == "kept"


def test_a_script_can_be_dropped(client: httpx.Client, chat_server: ChatServer) -> None:
    """What is left of it is never served."""
    chat_server.script([Text("dropped")] * 3)
    chat_server.unscript()
    assert said(post(client, user("Hi"))) == "I see 1 messages. You said: Hi"


def test_a_stream_can_be_cut(client: httpx.Client, chat_server: ChatServer) -> None:
    """The connection ends in the middle of the body."""
    chat_server.script([Stream(Text("Hello"), cut_after=150), Stream(Text("x"), cut_after=9)])
    with pytest.raises(httpx.RemoteProtocolError):
        post(client, user("Hi"), stream=True)
    with pytest.raises(httpx.RemoteProtocolError):
        post(client, user("Hi"))


def test_a_stream_can_lack_its_end(client: httpx.Client, chat_server: ChatServer) -> None:
    """Without [DONE] the body ends properly all the same."""
    chat_server.script([Stream(Text("Hello"), done=False)])
    assert "[DONE]" not in post(client, user("Hi"), stream=True).text


def test_a_stream_can_hold_an_error(client: httpx.Client, chat_server: ChatServer) -> None:
    """The error event is the last one."""
    error = {"error": {"message": "Overloaded", "type": "server_error"}}
    chat_server.script([Stream(Text("Hello"), error=error, error_after=1)])
    blocks = post(client, user("Hi"), stream=True).text.removesuffix("\n\n").split("\n\n")
    assert len(blocks) == 2
    assert json.loads(blocks[1].removeprefix("data: ")) == error


def test_a_stream_can_be_split_anywhere(client: httpx.Client, chat_server: ChatServer) -> None:
    """Writes of one byte, with multi-byte text, give the same events."""
    chat_server.script([Stream(Text("Grüße, 世界"), piece=1, write=1)])
    chunks = events(post(client, user("Hi"), stream=True))
    deltas = [chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks]
    assert "".join(deltas) == "Grüße, 世界"


def test_a_stream_can_be_slow(client: httpx.Client, chat_server: ChatServer) -> None:
    """A delay separates the events."""
    chat_server.script([Stream(Text("Hello"), delay=0.02)])
    start = time.monotonic()
    events(post(client, user("Hi"), stream=True))
    assert time.monotonic() - start > 0.06


def test_it_can_hang_and_reset(client: httpx.Client, chat_server: ChatServer) -> None:
    """Timeouts and dropped connections can be provoked; leaving does not wait for a hang."""
    chat_server.script([Hang(60), CloseConnection()])
    with pytest.raises(httpx.ReadTimeout):
        client.post(
            "/chat/completions", json={"model": "m", "messages": [user("Hi")]}, timeout=0.05
        )
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        post(client, user("Hi"))
    assert said(post(client, user("Hi"))) == "I see 1 messages. You said: Hi"


def test_a_client_that_leaves_is_no_failure(client: httpx.Client, chat_server: ChatServer) -> None:
    """Dropping a stream half way leaves the server in order."""
    chat_server.script([Stream(Text("x" * 200_000), piece=10)])
    body = {"model": "gpt-4o", "messages": [user("Hi")], "stream": True}
    with client.stream("POST", "/chat/completions", json=body) as response:
        next(response.iter_lines())
    assert said(post(client, user("Hi"))) == "I see 1 messages. You said: Hi"


def test_a_long_prefix_seen_before_counts_as_cached(client: httpx.Client) -> None:
    """Only a byte-identical prefix is found in the prompt cache."""
    long = user("word " * 4000)
    other = user("Word " * 4000)

    def cached(*messages: dict[str, Any]) -> int:
        usage = post(client, *messages).json()["usage"]
        return usage["prompt_tokens_details"]["cached_tokens"]

    assert cached(long) == 0
    assert cached(long, assistant("Yes"), user("More")) == 4992
    assert cached(other, assistant("Yes"), user("More")) == 0


def refused(response: httpx.Response, param: str | None, text: str) -> None:
    """Check the error object of a refused request."""
    error = response.json()["error"]
    assert response.status_code == 400
    assert error["type"] == "invalid_request_error"
    assert text in error["message"]
    assert error["param"] == param


@pytest.mark.parametrize("headers", [{}, {"authorization": "sk-test"}, {"x-api-key": "sk-test"}])
def test_it_wants_a_bearer_key(chat_server: ChatServer, headers: dict[str, str]) -> None:
    """Without one the answer is 401."""
    body = {"model": "gpt-4o", "messages": [user("Hi")]}
    url = f"{chat_server.base_url}/chat/completions"
    response = httpx.post(url, json=body, headers=headers)
    assert response.status_code == 401
    assert response.json()["error"]["message"] == "You didn't provide an API key."


def test_it_masks_an_invalid_key(client: httpx.Client) -> None:
    """A wrong key is refused without being shown."""
    headers = {"authorization": "Bearer sk-invalid-0042"}
    response = client.post("/chat/completions", json={}, headers=headers)
    assert response.status_code == 401
    assert response.json()["error"]["message"] == "Incorrect API key provided: sk-***0042."


def test_it_knows_one_path(client: httpx.Client) -> None:
    """Other addresses and methods are errors in the API's shape."""
    assert client.post("/completions", json={}).status_code == 404
    assert client.get("/chat/completions").status_code == 405


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"temperature": NaN}', b'{"model": "\\ud800"}', b"\xff", b"[]"]
)
def test_it_wants_strict_json(client: httpx.Client, body: bytes) -> None:
    """What is not JSON, or not an object, is refused."""
    headers = {"content-type": "application/json"}
    response = client.post("/chat/completions", content=body, headers=headers)
    assert response.status_code == 400


@pytest.mark.parametrize(
    ("fields", "param", "text"),
    [
        ({"max_output_tokens": 5}, "max_output_tokens", "Unknown parameter"),
        ({"messages": []}, "messages", "empty value"),
        ({"model": None}, "model", "expected a string"),
        ({"temperature": "0.7"}, "temperature", "a number between 0 and 2"),
        ({"temperature": 2.5}, "temperature", "a number between 0 and 2"),
        ({"max_tokens": 0}, "max_tokens", "at least 1"),
        ({"max_tokens": 5, "max_completion_tokens": 5}, None, "at the same time"),
        ({"tools": []}, "tools", "non-empty array"),
        ({"tool_choice": "auto"}, "tool_choice", "only allowed when 'tools'"),
        ({"parallel_tool_calls": True}, "parallel_tool_calls", "only allowed when 'tools'"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "'stream' is enabled"),
        ({"tools": [ORDERS, ORDERS]}, "tools", "unique"),
        ({"tools": [ORDERS], "tool_choice": "any"}, "tool_choice", "Invalid value"),
        ({"response_format": {"type": "json_object"}}, "messages", "the word 'json'"),
        ({"model": "o3", "max_tokens": 5}, "max_tokens", "max_completion_tokens"),
        ({"model": "gpt-5", "temperature": 0}, "temperature", "does not support"),
    ],
)
def test_it_refuses_wrong_fields(
    client: httpx.Client, fields: dict[str, Any], param: str | None, text: str
) -> None:
    """The error names the field."""
    body = {"model": "gpt-4o", "messages": [user("Hi")], **fields}
    refused(client.post("/chat/completions", json=body), param, text)


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([{"role": "bot", "content": "Hi"}], "messages[0].role"),
        ([{"role": "user", "content": None}], "messages[0].content"),
        ([{"role": "user", "content": []}], "messages[0].content"),
        ([{"role": "user", "content": [{"type": "image"}]}], "messages[0].content[0]"),
        ([{"role": "user", "content": "Hi", "id": "1"}], "messages[0].id"),
        ([{"role": "assistant", "content": None}], "messages[0].content"),
        ([{"role": "assistant", "content": "", "tool_calls": []}], "messages[0].tool_calls"),
        ([{**calling("a"), "content": ""}, result("a")], "messages[0].content"),
        ([calling("x" * 41)], "messages[0].tool_calls[0].id"),
        ([{"role": "tool", "content": "x"}], "messages[0].tool_call_id"),
        ([user("Hi"), result("a")], "messages[1].role"),
        ([user("Hi"), calling("a")], "messages[2].role"),
        ([user("Hi"), calling("a"), user("And?"), result("a")], "messages[2].role"),
        ([user("Hi"), calling("a", "b"), result("a"), user("And?")], "messages[3].role"),
        ([user("Hi"), calling("a"), result("a"), result("a")], "messages[3].role"),
        ([user("Hi"), calling("a", "a"), result("a")], "messages[1].tool_calls"),
    ],
)
def test_it_refuses_wrong_messages(
    client: httpx.Client, messages: list[dict[str, Any]], param: str
) -> None:
    """Shapes, orphan results and unanswered calls are found."""
    refused(post(client, *messages), param, "")


def test_it_takes_answered_calls_in_any_order(client: httpx.Client) -> None:
    """Results may come in another order than their calls."""
    history = [user("Hi"), calling("a", "b"), result("b", "2"), result("a", "1")]
    assert said(post(client, *history)) == "get_user_orders says 2; get_user_orders says 1."


@pytest.mark.parametrize(
    "change",
    [
        {"name": "get orders"},
        {"name": "x" * 65},
        {"parameters": {"type": "string"}},
        {"parameters": {}},
        {"parameters": {"type": "object", "properties": {}}},
        {"returns": "string"},
    ],
)
def test_it_refuses_wrong_tools(client: httpx.Client, change: dict[str, Any]) -> None:
    """Names, schemas and unknown keys are checked."""
    tool = {"type": "function", "function": {**ORDERS["function"], **change}}
    assert post(client, user("Hi"), tools=[tool]).status_code == 400


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"additionalProperties": True}, "'additionalProperties' is required"),
        ({"required": ["key_points"]}, "Missing 'conclusion'"),
        ({"type": "array"}, "must be a JSON Schema of"),
        ({"$defs": {}}, "not defined"),
        ({"$defs": {"Point": {"type": "object"}}}, "('$defs', 'Point')"),
        (
            {"properties": {**SUMMARY["properties"], "mood": {"type": "string", "default": ""}}},
            "'default' is not permitted",
        ),
        (
            {
                "properties": {
                    **SUMMARY["properties"],
                    "mood": {"$ref": "#/$defs/Point", "description": "x"},
                }
            },
            "$ref cannot have keywords",
        ),
    ],
)
def test_strict_schemas_are_strict(client: httpx.Client, change: dict[str, Any], text: str) -> None:
    """Every object level is closed and complete; without `strict` the same schema passes."""
    schema = {**SUMMARY, **change}
    refused(post(client, user("Hi"), response_format=json_schema(schema)), "response_format", text)
    if change.keys() & {"additionalProperties", "required"}:
        loose = json_schema(schema, strict=False)
        assert post(client, user("Hi"), response_format=loose).status_code == 200


def test_a_failure_of_the_fake_is_reported() -> None:
    """A broken script function fails the test that uses it."""

    def broken(request: Request) -> Text:
        raise KeyError("script")

    server = ChatServer()
    server.__enter__()
    server.script([broken])
    headers = {"authorization": "Bearer sk-test"}
    with (
        httpx.Client(base_url=server.base_url, headers=headers) as client,
        pytest.raises(httpx.HTTPError),
    ):
        post(client, user("Hi"))
    with pytest.raises(AssertionError, match="the fake server itself failed"):
        server.__exit__(None, None, None)


def test_the_openai_environment_points_to_the_fake(
    openai_env: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fixture sets base URL and key, and proxies are out of the way."""
    assert os.environ["OPENAI_BASE_URL"] == openai_env.base_url
    assert os.environ["OPENAI_API_KEY"] == "sk-test"
    assert [name for name in os.environ if name.lower().endswith("_proxy")] == []
