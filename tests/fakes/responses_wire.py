"""A reply as the bytes of the Responses API, whole or streamed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.fakes.chat_replies import Refusal, Stream, Text, ToolCalls
from tests.fakes.chat_wire import CREATED, RESOLVED, tokens

SUMMARY = "Let me see."
Item = dict[str, Any]


@dataclass(frozen=True)
class Said:
    """One answer of the model: its number on the server, the request, what it says."""

    number: int
    request: Item
    reply: Text | ToolCalls | Refusal

    def output(self) -> list[Item]:
        """The items, reasoning first."""
        number = f"{self.number:08d}"
        summary = [{"type": "summary_text", "text": SUMMARY}] if self._shown else []
        secret = {"summary": summary, "encrypted_content": f"gAAAA{number}"}
        items: list[Item] = [{"type": "reasoning", "id": f"rs_{number}", **secret}]
        if self.reply.text is not None:
            items.append(self._message(self.reply.text))
        for index, (name, arguments, call_id) in enumerate(self._calls()):
            names = {"id": f"fc_{number}_{index}", "call_id": call_id or f"call_{number}_{index}"}
            called = {"name": name, "arguments": arguments, "status": "completed"}
            items.append({"type": "function_call", **names, **called})
        return items

    @property
    def _shown(self) -> bool:
        return "summary" in self.request.get("reasoning", {})

    def _calls(self) -> list[tuple[str, str, str | None]]:
        return list(self.reply.calls) if isinstance(self.reply, ToolCalls) else []

    def _message(self, text: str) -> Item:
        if isinstance(self.reply, Refusal):
            piece: Item = {"type": "refusal", "refusal": text}
        else:
            piece = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        fields = {"id": f"msg_{self.number:08d}", "role": "assistant", "status": "completed"}
        return {"type": "message", **fields, "phase": "final_answer", "content": [piece]}

    def response(self, *output: Item, status: str) -> Item:
        """The response with these items."""
        model = self.request["model"]
        cut = isinstance(self.reply, Text) and self.reply.finish_reason == "length"
        if status == "completed" and cut:
            status = "incomplete"
        details = {"reason": "max_output_tokens"} if status == "incomplete" else None
        return {
            "id": f"resp_{self.number:08d}",
            "object": "response",
            "created_at": CREATED + self.number,
            "model": RESOLVED.get(model, model),
            "status": status,
            "incomplete_details": details,
            "error": None,
            "output": list(output),
            "usage": self._usage() if status != "in_progress" else None,
        }

    def _usage(self) -> Item:
        read = tokens(json.dumps(self.request["input"]))
        written = tokens(json.dumps(self.output()))
        return {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": 2},
            "total_tokens": read + written,
        }

    def body(self) -> bytes:
        """The answer to a request without `stream`."""
        return json.dumps(self.response(*self.output(), status="completed")).encode()

    def events(self, how: Stream) -> Iterator[bytes]:
        """The events of the answer, faults included."""
        for sent, (kind, fields) in enumerate(self._events(how.piece)):
            if how.error is not None and sent == how.error_after:
                yield _event("error", {**how.error, "sequence_number": sent})
                return
            yield _event(kind, {**fields, "sequence_number": sent})

    def _events(self, size: int) -> Iterator[tuple[str, Item]]:
        yield "response.created", {"response": self.response(status="in_progress")}
        for index, item in enumerate(self.output()):
            place = {"output_index": index, "item_id": item["id"]}
            begun = {"item": {**item, "status": "in_progress"}, "output_index": index}
            yield "response.output_item.added", begun
            for kind, text in _pieces(item, size):
                yield kind, {**place, "content_index": 0, "delta": text}
            yield "response.output_item.done", {"item": item, "output_index": index}
        last = self.response(*self.output(), status="completed")
        yield f"response.{last['status']}", {"response": last}


def _pieces(item: Item, size: int) -> Iterator[tuple[str, str]]:
    match item:
        case {"type": "reasoning", "summary": [{"text": text}]}:
            kind = "response.reasoning_summary_text.delta"
        case {"content": [{"text": text}]}:
            kind = "response.output_text.delta"
        case {"content": [{"refusal": text}]}:
            kind = "response.refusal.delta"
        case {"arguments": text}:
            kind = "response.function_call_arguments.delta"
        case _:
            return
    for start in range(0, len(text), size):
        yield kind, text[start : start + size]


def _event(kind: str, fields: Item) -> bytes:
    data = json.dumps({"type": kind, **fields})
    return f"event: {kind}\ndata: {data}\n\n".encode()
