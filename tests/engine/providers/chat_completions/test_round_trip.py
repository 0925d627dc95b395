"""What comes from a server goes back as it came."""

import json
from collections import Counter
from typing import Any

from agent.engine.errors import ProviderError
from agent.engine.provider import MessageContext
from agent.engine.providers.chat_completions.decoding import read_body
from agent.engine.providers.chat_completions.messages import MessageEncoder
from agent.engine.providers.chat_completions.parsing import ChatReading
from agent.engine.providers.origin import Origin
from agent.engine.providers.parsers import EventParser, WholeParser
from agent.engine.providers.transcript import Transcript
from agent.engine.providers.vendors import ChatDialect
from agent.eventstore.messages import Message
from tests.engine.providers.reading import Read
from tests.engine.providers.recordings import Record, needs_recordings, recordings

Item = dict[str, Any]
EMPTY = (None, "", [], {})
SYSTEM = ("system", "developer")


def written(transcript: Transcript, origin: Origin) -> list[Item]:
    """The messages of a transcript as a server gets them, the system prompt first."""
    items: list[Item] = []
    if transcript.system:
        items.append({"role": "system", "content": transcript.system})
    calls: dict[str, Any] = {}
    for message in transcript.messages:
        calls |= {call.call_id: call for call in message.tool_calls}
        known = {result.call_id: calls[result.call_id] for result in message.tool_results}
        blobs = {blob.digest: blob.data or b"" for blob in message.blobs()}
        context = MessageContext(origin.model, blobs, known)
        encoder = MessageEncoder(ChatDialect(), origin, context)
        items += [json.loads(item) for item in encoder.encode(message)]
    return items


class Meaning:
    """Messages without what may differ, and how often each rule was needed.

    Values that say nothing are left out; text is the same as one item of it, and so are several
    as long as nothing but text is in them; developers are systems; the system messages at the
    beginning are one prompt of text; ids are numbered, and calls have no index.
    """

    def __init__(self) -> None:
        self.rules: Counter[str] = Counter()

    def of(self, items: list[Item]) -> list[Item]:
        """The messages."""
        leading = 0
        while leading < len(items) and items[leading]["role"] in SYSTEM:
            leading += 1
        system = "\n\n".join(self._system(item) for item in items[:leading])
        ids: dict[str, int] = {}
        return [{"system": system}, *(self._message(item, ids) for item in items[leading:])]

    def _system(self, item: Item) -> str:
        content = item["content"]
        if isinstance(content, str):
            return content
        if any(part.keys() != {"type", "text"} for part in content):
            self.rules["a system prompt is text alone"] += 1
        return "\n\n".join(part["text"] for part in content)

    def _message(self, item: Item, ids: dict[str, int]) -> Item:
        said = {key: value for key, value in item.items() if value not in EMPTY}
        if "content" in said:
            said["content"] = _content(said["content"])
        if "tool_call_id" in said:
            said["tool_call_id"] = ids[said["tool_call_id"]]
        if "tool_calls" in said:
            said["tool_calls"] = [self._call(call, ids) for call in said["tool_calls"]]
        return said

    def _call(self, call: Item, ids: dict[str, int]) -> Item:
        ids[call["id"]] = len(ids)
        function = call["function"]
        arguments = json.loads(function.get("arguments") or "{}")
        named = {"id": ids[call["id"]], "function": {**function, "arguments": arguments}}
        return {"type": "function", **call, **named, "index": None}


def _content(content: Any) -> Any:
    if isinstance(content, list) and all(part.keys() == {"type", "text"} for part in content):
        return "".join(part["text"] for part in content)
    return content


@needs_recordings
def test_recorded_requests_come_back_as_they_were() -> None:
    """Every message is read and written to the same meaning; the exceptions are rules."""
    theirs, ours, seen = Meaning(), Meaning(), 0
    different: dict[str, object] = {}
    for record, _ in recordings("chat_completions"):
        body = record["request"]["body"]
        origin = Origin("openai", "chat_completions", body["model"])
        back = ours.of(written(read_body(body, origin), origin))
        there = theirs.of(body["messages"])
        seen += 1
        if back != there:
            different[record["id"]] = [pair for pair in zip(there, back) if pair[0] != pair[1]]  # noqa: B905 - a length that differs is shown
    assert different == {}
    assert seen > 400
    assert theirs.rules == {"a system prompt is text alone": 5}


def answered(record: Record) -> Message | None:
    """The message of a recorded answer; None where there is none."""
    origin = Origin(record["provider"], "chat_completions", "m")
    reading = ChatReading(origin)
    parser = EventParser(reading) if record["stream"] else WholeParser(reading)
    try:
        return Read(parser, record["response"]["body"].encode()).answer.message
    except ProviderError:
        return None


@needs_recordings
def test_recorded_answers_go_back_as_they_came() -> None:
    """Every field of a whole message that says something is in the request after it."""
    checked = 0
    for record, _ in recordings("chat_completions"):
        message = answered(record)
        if message is None or record["stream"] or record["response"]["status"] >= 400:
            continue
        origin = Origin(record["provider"], "chat_completions", "m")
        said = json.loads(record["response"]["body"])["choices"][0].get("message") or {}
        (back,) = written(Transcript(None, (message,)), origin)
        there = Meaning().of([said | {"role": "assistant"}])[1]
        here = Meaning().of([back])[1]
        if "audio" in there:
            there["audio"] = {"id": there["audio"]["id"]}
        assert here == there, record["id"]
        checked += 1
    assert checked > 300


@needs_recordings
def test_recorded_streams_lose_nothing() -> None:
    """Every field of a delta that says something is in the request after it."""
    checked = 0
    for record, _ in recordings("chat_completions"):
        message = answered(record)
        if message is None or not record["stream"] or record["response"]["status"] >= 400:
            continue
        origin = Origin(record["provider"], "chat_completions", "m")
        (back,) = written(Transcript(None, (message,)), origin)
        fields = set(_delta_fields(record["response"]["body"]))
        assert fields <= back.keys(), record["id"]
        checked += 1
    assert checked > 50


def _delta_fields(body: str) -> Any:
    for line in body.splitlines():
        if not line.startswith("data: {"):
            continue
        for choice in json.loads(line.removeprefix("data: ")).get("choices", []):
            delta = choice.get("delta") or {}
            yield from (k for k, v in delta.items() if v not in EMPTY and k != "channel")
