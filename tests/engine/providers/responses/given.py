"""What the tests of Responses share: items, responses, events, parsers run to their end."""

import json
from typing import Any

from agent.engine.providers.origin import Origin
from agent.engine.providers.parsers import EventParser, WholeParser
from agent.engine.providers.responses.parsing import ResponsesReading
from tests.engine.providers.reading import Read

ORIGIN = Origin("openai-responses", "responses", "gpt-5")

Item = dict[str, Any]


def text(*pieces: str, **more: Any) -> Item:
    """A message."""
    content = [{"type": "output_text", "text": piece, "annotations": []} for piece in pieces]
    fields = {"id": "msg_1", "role": "assistant", "status": "completed"}
    return {"type": "message", **fields, "content": content, **more}


def refusal(words: str) -> Item:
    """A message that declines."""
    return text(content=[{"type": "refusal", "refusal": words}])


def reasoning(*summary: str, encrypted: str | None = "gAAA", **more: Any) -> Item:
    """Reasoning, with the pieces of its summary."""
    pieces = [{"type": "summary_text", "text": piece} for piece in summary]
    hidden = {} if encrypted is None else {"encrypted_content": encrypted}
    return {"type": "reasoning", "id": "rs_1", "summary": pieces, **hidden, **more}


def call(name: str = "f", arguments: Any = "{}", call_id: str = "call_a", **more: Any) -> Item:
    """A call of a function."""
    fields = {"id": "fc_1", "call_id": call_id, "name": name, "arguments": arguments}
    return {"type": "function_call", **fields, "status": "completed", **more}


def searched(**more: Any) -> Item:
    """A search that the server did itself."""
    action = {"type": "search", "query": "x"}
    return {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": action,
        **more,
    }


def response(*output: Item, status: Any = "completed", **more: Any) -> Item:
    """A response."""
    head = {"id": "resp_1", "object": "response", "model": "gpt-5-2025-08-07", "error": None}
    return {**head, "status": status, "output": list(output), **more}


def event(kind: str, **fields: Any) -> bytes:
    """An event of a stream."""
    data = json.dumps({"type": kind, **fields})
    return f"event: {kind}\ndata: {data}\n\n".encode()


def delta(words: str, *, output_index: int = 0) -> bytes:
    """A piece of text."""
    place = {"output_index": output_index, "content_index": 0}
    return event("response.output_text.delta", delta=words, **place)


def thought(words: str, *, output_index: int = 0, summary_index: int = 0) -> bytes:
    """A piece of the summary of the reasoning."""
    place = {"output_index": output_index, "summary_index": summary_index}
    return event("response.reasoning_summary_text.delta", delta=words, **place)


def done(item: Item, output_index: int = 0) -> bytes:
    """The end of an item, after its beginning."""
    fields = {"output_index": output_index}
    begun = event("response.output_item.added", item={"type": item["type"]}, **fields)
    return begun + event("response.output_item.done", item=item, **fields)


def end(*output: Item, kind: str = "completed", **more: Any) -> bytes:
    """The last event of a stream."""
    last = response(*output, **{"status": kind, **more})
    return event(f"response.{kind}", response=last)


def stream_parser() -> EventParser:
    """What reads a stream."""
    return EventParser(ResponsesReading(ORIGIN))


def whole_parser() -> WholeParser:
    """What reads a whole response."""
    return WholeParser(ResponsesReading(ORIGIN))


def streamed(*pieces: bytes) -> Read:
    """The answer of a stream."""
    return Read(stream_parser(), *pieces)


def whole(*output: Item, **more: Any) -> Read:
    """The answer of a whole response."""
    return Read(whole_parser(), json.dumps(response(*output, **more)).encode())
