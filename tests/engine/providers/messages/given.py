"""What the tests of Messages share: bodies, streams, parsers run to their end."""

import json
from typing import Any

from agent.engine.providers.messages.encoding import encode_message
from agent.engine.providers.messages.parsing import MessagesReading
from agent.engine.providers.origin import Origin
from agent.engine.providers.parsers import EventParser, WholeParser
from agent.eventstore.messages import Message, ToolCallPart
from tests.engine.providers.given import context
from tests.engine.providers.reading import Read

ORIGIN = Origin("anthropic", "messages", "claude-sonnet-4-5")
USAGE = {"input_tokens": 10, "output_tokens": 5}

Block = dict[str, Any]


def text(words: str, **more: Any) -> Block:
    """A block of text."""
    return {"type": "text", "text": words, **more}


def thinking(words: str, signature: str = "c2ln") -> Block:
    """A block of reasoning."""
    return {"type": "thinking", "thinking": words, "signature": signature}


def tool_use(name: str, input: Any, id: str = "toolu_1", **more: Any) -> Block:  # noqa: A002 - the protocol's words
    """A call."""
    return {"type": "tool_use", "id": id, "name": name, "input": input, **more}


SEARCH = {
    "type": "server_tool_use",
    "id": "srvtoolu_1",
    "name": "web_search",
    "input": {"query": "weather"},
}
FOUND = {
    "type": "web_search_tool_result",
    "tool_use_id": "srvtoolu_1",
    "content": [
        {
            "type": "web_search_result",
            "url": "https://example.com",
            "title": "Sun",
            "encrypted_content": "x",
        }
    ],
}
REDACTED = {"type": "redacted_thinking", "data": "ZGF0YQ=="}
COMPACTED = {"type": "compaction", "content": "So far", "encrypted_content": "x"}
CITATION = {"type": "char_location", "cited_text": "sun", "document_index": 0}


def message(*content: Block, stop: Any = "end_turn", **more: Any) -> dict[str, Any]:
    """A whole answer."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": list(content),
        "stop_reason": stop,
        "usage": USAGE,
        **more,
    }


def body(*content: Block, **more: Any) -> bytes:
    """The same as bytes."""
    return json.dumps(message(*content, **more)).encode()


def event(kind: str, **fields: Any) -> bytes:
    """One event of a stream."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def deltas_of(block: Block) -> tuple[Block, list[Block]]:
    """A block as its start and what follows."""
    match block["type"]:
        case "text":
            words, cited = block["text"], block.get("citations", [])
            said = [
                {"type": "text_delta", "text": words[:2]},
                {"type": "text_delta", "text": words[2:]},
            ]
            return text(""), said + [{"type": "citations_delta", "citation": one} for one in cited]
        case "thinking":
            return thinking("", ""), [
                {"type": "thinking_delta", "thinking": block["thinking"]},
                {"type": "signature_delta", "signature": block["signature"]},
            ]
        case "tool_use" | "server_tool_use":
            written = json.dumps(block["input"])
            pieces = ["", written[:4], written[4:]] if block["input"] else [""]
            return {**block, "input": {}}, [
                {"type": "input_json_delta", "partial_json": piece} for piece in pieces
            ]
        case "compaction":
            said = {key: value for key, value in block.items() if key != "type"}
            return {"type": "compaction", "content": ""}, [{"type": "compaction_delta", **said}]
        case _:
            return block, []


def started() -> bytes:
    """The first event of a stream."""
    begun = message(stop=None, usage={"input_tokens": 10, "output_tokens": 1})
    return event("message_start", message=begun)


def block_events(index: int, block: Block) -> bytes:
    """The events of one block."""
    start, deltas = deltas_of(block)
    return (
        event("content_block_start", index=index, content_block=start)
        + event("ping")
        + b"".join(event("content_block_delta", index=index, delta=delta) for delta in deltas)
        + event("content_block_stop", index=index)
    )


def stopped(stop: str = "end_turn", **more: Any) -> bytes:
    """The last events of a stream."""
    delta = {"stop_reason": stop, "stop_sequence": None, **more}
    return event("message_delta", delta=delta, usage={"output_tokens": 5}) + event("message_stop")


def stream(*content: Block, stop: str = "end_turn", **more: Any) -> bytes:
    """An answer as a stream."""
    blocks = b"".join(block_events(index, block) for index, block in enumerate(content))
    return started() + blocks + stopped(stop, **more)


def stream_parser() -> EventParser:
    """What reads a stream."""
    return EventParser(MessagesReading(ORIGIN))


def whole_parser() -> WholeParser:
    """What reads a whole answer."""
    return WholeParser(MessagesReading(ORIGIN))


def streamed(*pieces: bytes) -> Read:
    """The answer of a stream."""
    return Read(stream_parser(), *pieces)


def whole(answer: bytes) -> Read:
    """The answer of a whole body."""
    return Read(whole_parser(), answer)


def sent(said: Message, *calls: ToolCallPart, origin: Origin = ORIGIN) -> list[dict[str, Any]]:
    """The items of ``messages`` that a message becomes; ``calls`` are what it answers."""
    known = context(said, origin.model, *calls)
    return [json.loads(item) for item in encode_message(said, known, origin)]


def content(said: Message, *calls: ToolCallPart, origin: Origin = ORIGIN) -> list[Block]:
    """The blocks of a message as they are sent."""
    items = sent(said, *calls, origin=origin)
    return items[0]["content"] if items else []
