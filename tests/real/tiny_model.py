"""A language model of 150 kB, made of random weights, in the file format of llama.cpp.

What it says is noise; how a server takes its prompt, samples, constrains, counts and streams is
not. Three things about the noise are chosen: it is printable, it ends after some twenty tokens,
and where tools are offered it now and then calls one.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import random
import struct
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path

WIDTH, HEADS, INNER, CONTEXT = 32, 2, 64, 16384
ALIGNMENT = 32
CONSTANT = 4.0

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
SPECIAL = [
    ("<unk>", UNKNOWN),
    ("<s>", CONTROL),
    ("<|im_start|>", CONTROL),
    ("<|im_end|>", CONTROL),
    ("<tool_call>", USER_DEFINED),
]
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
VOCABULARY = [
    *SPECIAL,
    *((f"<0x{byte:02X}>", BYTE) for byte in range(256)),
    *((text, NORMAL) for text in (SPACE, *map(chr, range(33, 127)))),
]
TEMPLATE = """\
{%- if tools -%}
<|im_start|>system
Call a function with <tool_call>
{"name": <name>, "arguments": <object>}
</tool_call>, any of:
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}<|im_end|>
{% endif -%}
{%- for message in messages -%}
<|im_start|>{{ "user" if message.role == "tool" else message.role }}
{% if message.role == "tool" -%}
<tool_response>
{{ message.content }}
</tool_response>
{%- else -%}
{{ message.content or "" }}
{%- for call in message.tool_calls or [] %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}
{%- endif -%}
<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}"""

Value = str | int | float | bool | list[str] | list[int] | list[float]


def write_model(path: Path) -> None:
    """Write the model; the same bytes each time."""
    tensors = _tensors(random.Random(7))
    infos, offset = b"", 0
    for name, (shape, data) in tensors.items():
        dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        infos += _text(name) + dimensions + struct.pack("<IQ", 0, offset)
        offset += len(_padded(data.tobytes()))
    fields = _fields()
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields))
    head += b"".join(_text(name) + _value(value) for name, value in fields.items()) + infos
    body = (_padded(data.tobytes()) for _, data in tensors.values())
    path.write_bytes(b"".join((_padded(head), *body)))


def _fields() -> dict[str, Value]:
    names = [name for name, _ in SPECIAL]
    return {
        "general.architecture": "llama",
        "general.name": "tiny-random",
        "llama.context_length": CONTEXT,
        "llama.embedding_length": WIDTH,
        "llama.block_count": 1,
        "llama.feed_forward_length": INNER,
        "llama.attention.head_count": HEADS,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": WIDTH // HEADS,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [text for text, _ in VOCABULARY],
        "tokenizer.ggml.token_type": [kind for _, kind in VOCABULARY],
        "tokenizer.ggml.scores": [-float(number) for number in range(len(VOCABULARY))],
        "tokenizer.ggml.bos_token_id": names.index("<s>"),
        "tokenizer.ggml.eos_token_id": names.index("<|im_end|>"),
        "tokenizer.ggml.unknown_token_id": names.index("<unk>"),
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_space_prefix": False,
        "tokenizer.chat_template": TEMPLATE,
    }


def _tensors(chance: random.Random) -> dict[str, tuple[Sequence[int], array[float]]]:
    """Each with its shape, fastest dimension first.

    The first number of every embedding is the same, so the first column of the output layer is
    what each token is worth whatever was said. The second one says that a tool call was opened,
    which a line break has to follow.
    """

    def noise(rows: int, columns: int, scale: float) -> Iterable[float]:
        return (chance.gauss(0, scale) for _ in range(rows * columns))

    def matrix(rows: int, columns: int, scale: float = 0.05) -> tuple[Sequence[int], array[float]]:
        return (columns, rows), array("f", noise(rows, columns, scale))

    ones = (WIDTH,), array("f", [1.0] * WIDTH)
    embedding = matrix(len(VOCABULARY), WIDTH, 0.3)
    output = matrix(len(VOCABULARY), WIDTH, 0.15)
    constant = CONSTANT / math.sqrt((CONSTANT**2 + (WIDTH - 1) * 0.3**2) / WIDTH)
    for row, token in enumerate(VOCABULARY):
        opening, newline = token[0] == "<tool_call>", token[0] == "<0x0A>"
        embedding[1][row * WIDTH : row * WIDTH + 2] = array("f", [CONSTANT, 3 * CONSTANT * opening])
        output[1][row * WIDTH : row * WIDTH + 2] = array(
            "f", [_worth(*token) / constant, 6.0 * newline]
        )
    return {
        "token_embd.weight": embedding,
        "blk.0.attn_norm.weight": ones,
        **{f"blk.0.attn_{name}.weight": matrix(WIDTH, WIDTH) for name in ("q", "k", "v", "output")},
        "blk.0.ffn_norm.weight": ones,
        "blk.0.ffn_gate.weight": matrix(INNER, WIDTH),
        "blk.0.ffn_up.weight": matrix(INNER, WIDTH),
        "blk.0.ffn_down.weight": matrix(WIDTH, INNER),
        "output_norm.weight": ones,
        "output.weight": output,
    }


def _worth(text: str, kind: int) -> float:
    """How likely a token is: the logarithm of its weight."""
    if kind != NORMAL:
        return {"<|im_end|>": 2.0, "<tool_call>": 0.7}.get(text, -8.0)
    if text in '"}]':
        return 2.5
    if text == SPACE or text.islower():
        return 1.0
    return 0.0 if text.isdigit() else -1.5


def _value(value: Value) -> bytes:
    """A typed value: 4 uint32, 5 int32, 6 float32, 7 bool, 8 string, 9 array."""
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<I", 8) + _text(value)
        case _:
            items = [_item(item) for item in value]
            kind = {str: 8, int: 5, float: 6}[type(value[0])]
            return struct.pack("<IIQ", 9, kind, len(items)) + b"".join(items)


def _item(item: str | float) -> bytes:
    if isinstance(item, str):
        return _text(item)
    return struct.pack("<i" if isinstance(item, int) else "<f", item)


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % ALIGNMENT)
