"""One event of each type and schema version, with every field set: what the golden files hold."""

import msgspec

from agent.eventstore import events as e
from agent.eventstore.messages import (
    Blob,
    FilePart,
    ImagePart,
    Link,
    Message,
    Opaque,
    OpaquePart,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from agent.eventstore.values import (
    Erasure,
    Excerpt,
    Failure,
    OutputSchema,
    Owner,
    Settings,
    ToolDefinition,
    Usage,
)

OPAQUE = Opaque("acme", "chat", "acme-1", msgspec.Raw(b'{ "signature" : "c2ln", "n": 1.50 }'))
BLOB = Blob("5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03", 6)
FAILURE = Failure("RateLimited", "too many requests", 429, "rate_limit", "req-1", retryable=True)
OWNER = Owner("host-1", 4242, 1_700_000_000_000_000_000)
USAGE = Usage(100, 20, 60, 10, 5)
HEX = "00112233445566778899aabbccddeeff" * 2

USER = Message.user(
    'Grüße, \N{SNOWMAN} \N{SLIGHTLY SMILING FACE}\n"quoted" \\ \x00\x7f\N{LINE SEPARATOR}',
    ImagePart(BLOB, "image/png", OPAQUE),
    ImagePart(Link("https://example.org/a.png?b=c&d=e"), "image/png"),
    FilePart(BLOB, "text/plain", "hello.txt", OPAQUE),
)
ASSISTANT = Message.assistant(
    ReasoningPart("First, think.", OPAQUE),
    TextPart("Then, speak.", OPAQUE),
    RefusalPart("But not of this.", OPAQUE),
    ToolCallPart("call-1", "look_up", '{"key": [1, 2.50, null]', "toolu_1", OPAQUE),
    OpaquePart(OPAQUE),
)
RESULTS = (
    TextPart("found"),
    ImagePart(BLOB),
    FilePart(Link("https://example.org"), "text/html"),
    OpaquePart(OPAQUE),
)
TOOL = Message.tool(ToolResultPart("call-1", RESULTS, is_error=True, opaque=OPAQUE))

SAMPLES: dict[tuple[str, int], e.Event] = {
    (event.type, 1): event
    for event in (
        e.SessionStarted(
            session_id="s-1",
            system="Be brief.",
            metadata=msgspec.Raw(b'{"user":"ada"}'),
            library="0.1.0",
        ),
        e.SessionForked(session_id="s-2", parent="s-1", at=7, parent_hash=HEX),
        e.SessionDeleted(reason="on request"),
        e.SystemChanged(system=None),
        e.ToolsDeclared(
            tools=(
                ToolDefinition("look_up", "Looks up a key.", msgspec.Raw(b'{"type":"object"}')),
            ),
            digest=HEX,
        ),
        e.MetadataChanged(
            metadata=msgspec.Raw(b'{ "big": 123456789012345678901234567890, "e": 1e2 }')
        ),
        e.MessageAdded(message=TOOL),
        e.HistoryCleared(),
        e.HistoryRewound(to=3),
        e.HistoryCompacted(through=9, kept=2, summary=Message.user("They said hello.")),
        e.TurnStarted(
            kind="compaction",
            input=USER,
            settings=Settings(
                temperature=0.5,
                top_p=0.25,
                max_tokens=1000,
                stop=("END", "\n"),
                seed=7,
                presence_penalty=-0.5,
                frequency_penalty=0.0,
                reasoning_effort="low",
                tool_choice="auto",
                parallel_tool_calls=False,
                extra=msgspec.Raw(b'{"user": "u-1"}'),
            ),
            excerpt=Excerpt(2, 8),
            output=OutputSchema("Answer", msgspec.Raw(b'{"type":"object","properties":{}}')),
            idempotency_key="key-1",
            own=("model", "temperature"),
            owner=OWNER,
        ),
        e.TurnResumed(owner=OWNER),
        e.ModelRequested(
            step=1,
            attempt=2,
            provider="acme",
            api="chat",
            model="acme-1",
            stream=True,
            encoder="chat/1",
            digest=HEX,
        ),
        e.ModelResponded(
            message=ASSISTANT,
            finish_reason="tool_calls",
            raw_finish_reason="tool_use",
            usage=USAGE,
            model="acme-1-2025",
            response_id="resp-1",
            elapsed=1.25,
        ),
        e.ModelFailed(
            error=FAILURE, partial=Message.assistant("Well"), usage=USAGE, elapsed=0.0625
        ),
        e.OutputRejected(errors=("age: too small",), feedback=Message.user("Try again.")),
        e.ToolCalled(call_id="call-1", tool="look_up"),
        e.ToolReturned(call_id="call-1", content=RESULTS, is_error=True, elapsed=0.5),
        e.ToolResolved(call_id="call-1", how="failed", content=RESULTS),
        e.ApprovalRequested(call_id="call-1", digest=HEX),
        e.ApprovalGranted(call_id="call-1"),
        e.ApprovalRejected(call_id="call-1", reason="too dear"),
        e.TurnCompleted(),
        e.TurnFailed(error=FAILURE, completed_calls=("call-1", "call-2")),
        e.TurnAbandoned(reason="interrupted"),
        e.PayloadErased(erased=(Erasure(4, "00" * 32, "ff" * 32),), reason="on request"),
    )
}


LONE = "a\ud800"
"""Text that no UTF-8 can hold."""


class Word(str):
    """Text of a kind that JSON cannot tell."""

    __slots__ = ()


class Number(int):
    """A number of a kind that JSON cannot tell."""
