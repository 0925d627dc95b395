"""Messages as real servers speak it."""

import json
from typing import Any

import pytest

from agent.engine.provider import Answer
from agent.engine.providers.messages.decoding import read_body
from tests.engine.providers.given import body_of, prompt, provider_of
from tests.engine.providers.messages.given import (
    ORIGIN,
    Block,
    content,
    stream_parser,
    whole_parser,
)
from tests.engine.providers.recordings import (
    Pairs,
    Record,
    answer_pairs,
    check_recordings,
    needs_recordings,
    outcome,
    reads,
    recordings,
)

pytestmark = needs_recordings


parser = reads(stream_parser, whole_parser)


def compared(found: Answer, expected: Record) -> Pairs:
    """Everything that the oracle says; it leaves the cache out of the input."""
    used, usage = expected.get("usage") or {}, found.usage
    return [
        *answer_pairs(found, expected),
        (
            "input",
            usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens,
            used.get("input"),
        ),
        ("output", usage.output_tokens, used.get("output")),
        ("cached", usage.cached_tokens, used.get("cached_input")),
    ]


@pytest.mark.parametrize("cuts", [0, 1, 40, 2000])
def test_we_read_recordings_as_the_vendors_do(cuts: int) -> None:
    """Whole and cut at random bytes: text, calls, usage and errors are what their SDK sees."""
    check_recordings("messages", cuts, parser, compared, {})


def answered(record: Record) -> list[Block]:
    """The blocks of a recorded answer, put together without our code."""
    response = record["response"]["body"]
    if not record["stream"]:
        return json.loads(response)["content"]
    blocks: dict[int, Block] = {}
    written: dict[int, str] = {}
    for line in response.splitlines():
        data = json.loads(line[5:]) if line.startswith("data:") else {}
        if data.get("type") == "content_block_start":
            blocks[data["index"]] = data["content_block"]
        elif data.get("type") == "content_block_delta":
            index, delta = data["index"], data["delta"]
            written[index] = written.get(index, "") + delta.get("partial_json", "")
            grow(blocks[index], delta)
    for index, text in written.items():
        if text:
            blocks[index]["input"] = json.loads(text)
    return list(blocks.values())


def grow(block: Block, delta: Block) -> None:
    """Add what is not input."""
    match delta["type"]:
        case "text_delta":
            block["text"] += delta["text"]
        case "thinking_delta":
            block["thinking"] += delta["thinking"]
        case "signature_delta":
            block["signature"] = delta["signature"]
        case "citations_delta":
            block["citations"] = [*(block.get("citations") or []), delta["citation"]]
        case _:
            pass


def same(block: Block) -> Block:
    """A block without nulls."""
    return {key: value for key, value in block.items() if value is not None}


def test_what_was_answered_is_sent_back_as_it_came() -> None:
    """Every block of every answer, streamed or not, but for blank text, which the API refuses."""
    checked = 0
    for record, _ in recordings("messages"):
        found = outcome(record, parser(record), [])
        if isinstance(found, Answer):
            blocks = [same(block) for block in answered(record) if block.get("text", "x").strip()]
            assert content(found.message) == blocks
            checked += len(blocks)
    assert checked > 250


class Names:
    """Calls by the order in which they come: servers repeat ids."""

    def __init__(self) -> None:
        self.calls = 0
        self.waiting: dict[str, str] = {}

    def named(self, block: Block) -> Block:
        """The block with its call by our name."""
        match block["type"]:
            case "tool_use":
                self.calls += 1
                self.waiting[block["id"]] = f"call {self.calls}"
                return {**block, "id": self.waiting[block["id"]]}
            case "tool_result":
                return {**block, "tool_use_id": self.waiting.pop(block["tool_use_id"])}
            case _:
                return block


def joined(messages: list[Any]) -> list[tuple[str, list[Block]]]:
    """Messages by meaning: blocks without nulls and blank text; neighbours of a role are one.

    Two rules are exceptions: a system message in the middle is the user's, and what a request
    repeats of ``is_error`` where there is none is left out.
    """
    found: list[tuple[str, list[Block]]] = []
    names = Names()
    for message in messages:
        role = "user" if message["role"] == "system" else message["role"]
        blocks = [
            names.named(one) for item in blocks_of(message["content"]) if (one := meant(item))
        ]
        if not blocks:
            continue
        if found and found[-1][0] == role:
            found[-1][1].extend(blocks)
        else:
            found.append((role, blocks))
    return found


def blocks_of(said: Any) -> list[Block]:
    """Text alone is one block."""
    return [{"type": "text", "text": said}] if isinstance(said, str) else said or []


def meant(block: Block) -> Block | None:
    """One block by its meaning."""
    if block["type"] == "text" and not block["text"].strip():
        return None
    block = same(block)
    if block["type"] == "tool_result":
        inner = [one for item in blocks_of(block.pop("content", None)) if (one := meant(item))]
        block = {**block, "content": inner, "is_error": block.get("is_error", False)}
    return block


def test_a_recorded_conversation_means_the_same_when_it_is_sent_again() -> None:
    """Every request is read into our messages and written back."""
    checked = 0
    for record, _ in recordings("messages"):
        asked = record["request"]["body"]
        asked = json.loads(asked) if isinstance(asked, str) else asked
        read = read_body(asked, ORIGIN)
        again = body_of(provider_of("anthropic"), read.messages, prompt(ORIGIN.model))
        assert joined(again["messages"]) == joined(asked["messages"])
        system = "\n\n".join(block["text"] for block in blocks_of(asked.get("system")))
        assert (read.system or "") == system
        checked += 1
    assert checked > 150
