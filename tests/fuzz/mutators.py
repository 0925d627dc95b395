"""Bodies made worse: bytes flipped, cut and repeated, lines mixed, JSON changed by its tokens."""

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

Mutator = Callable[[Random, bytes, Sequence[bytes]], bytes]

LONGEST = 200_000
"""Bodies do not grow beyond this many bytes."""

DEPTHS = (3, 90, 240, 330, 480, *range(900, 1000, 3), 4000)
"""Around the depths at which parsers, and Python itself, give up."""

BYTES = (
    *(
        b"\x00",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\x0b",
        b"\xef\xbb\xbf",
        b"\xff",
        b"\xc3",
        b"\xf0\x9f",
    ),
    *(
        b"\xed\xa0\x80",
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b"<",
        b" ",
        b"[DONE]",
        b"data:",
    ),
    *(b"data: [DONE]\n\n", b": comment\n\n", b"event: error\n", b"id: 1\n", b"retry: 1\n"),
    *(b"\\ud83d", b"\\ude00", b"\\\\ud83d", b"null", b"0", b"-1", b"1e5", b"NaN", b"true"),
)
NUMBERS = (
    *("-1", "0", "-0", "1.0", "1.5", "1e2", "1e308", "1e999", "-1e999", "NaN", "Infinity"),
    *("9007199254740993", "18446744073709551616", "9" * 300, "9" * 4400, "true", "false", "null"),
)
STRINGS = (
    *('""', '" "', r'"\u0000"', r'"\ud800"', r'"\ude00\ud83d"', r'"\ud83d\ude00"', r'"\\ud800"'),
    *('"stop"', '"length"', '"error"', '"tool_calls"', '"text"', '"thinking"', '"assistant"'),
    *('"429"', '"' + "9" * 4400 + '"', '"' + "x" * 5000 + '"', '"\u2028\u0085"', '"{}"', '"1e5"'),
)
KEYS = (
    *("content", "reasoning", "tool_calls", "function", "arguments", "name", "id", "index", "type"),
    *("text", "error", "message", "code", "choices", "delta", "usage", "finish_reason", "refusal"),
)


# Bytes


def flip(rng: Random, body: bytes, _: Sequence[bytes]) -> bytes:
    """Change bits."""
    changed = bytearray(body)
    for _each in range(rng.choice((1, 1, 1, 2, 8))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def insert(rng: Random, body: bytes, _: Sequence[bytes]) -> bytes:
    """Put something in."""
    place = rng.randint(0, len(body))
    return body[:place] + rng.choice(BYTES) + body[place:]


def delete(rng: Random, body: bytes, _: Sequence[bytes]) -> bytes:
    """Take some bytes out."""
    place = rng.randint(0, len(body))
    return body[:place] + body[place + rng.choice((1, 1, 2, 5, 40)) :]


def cut(rng: Random, body: bytes, _: Sequence[bytes]) -> bytes:
    """End it early."""
    return body[: rng.randint(0, len(body))]


def repeat(rng: Random, body: bytes, _: Sequence[bytes]) -> bytes:
    """Say a block of it again, and again."""
    start = rng.randint(0, len(body))
    block = body[start : start + rng.choice((1, 10, 100, 1000))]
    return body[:start] + block * rng.choice((2, 2, 3, 50)) + body[start + len(block) :]


def splice(rng: Random, body: bytes, seeds: Sequence[bytes]) -> bytes:
    """Begin with this one and end with another."""
    other = rng.choice(seeds)
    return body[: rng.randint(0, len(body))] + other[rng.randint(0, len(other)) :]


# Lines


def line_ends(rng: Random, body: bytes, _: Sequence[bytes]) -> bytes:
    """Other line ends, everywhere or here and there."""
    ends = (b"\n", b"\r", b"\r\n")
    if rng.random() < 0.5:
        return body.replace(b"\n", rng.choice(ends))
    return b"".join(line + rng.choice(ends) for line in body.split(b"\n"))


def blocks(rng: Random, body: bytes, seeds: Sequence[bytes]) -> bytes:
    """Drop, repeat, move or lend a block between blank lines."""
    parts = body.split(b"\n\n")
    place = rng.randrange(len(parts))
    match rng.randrange(4):
        case 0:
            del parts[place]
        case 1:
            parts.insert(place, parts[place])
        case 2:
            parts.insert(rng.randint(0, len(parts)), parts.pop(place))
        case _:
            parts.insert(place, rng.choice(rng.choice(seeds).split(b"\n\n")))
    return b"\n\n".join(parts)


# JSON


def tokens(rng: Random, body: bytes, _: Sequence[bytes]) -> bytes:
    """Change a value, a key or the structure of the JSON in one line."""
    lines = body.split(b"\n")
    candidates = [index for index, line in enumerate(lines) if b"{" in line]
    if not candidates:
        return body
    index = rng.choice(candidates)
    before, brace, text = lines[index].partition(b"{")
    try:
        value = json.loads(brace + text)
    except (ValueError, RecursionError):
        return flip(rng, body, ())
    lines[index] = before + change(rng, value).encode(errors="surrogatepass")
    return b"\n".join(lines)


def change(rng: Random, value: Any) -> str:
    """JSON text of a value in which one thing is different. The value is used up."""
    places = _places(value)
    if not places:
        return _nasty(rng)
    holder, key = rng.choice(places)
    marker = f"@{rng.getrandbits(64)}@"
    raw = _replaced(rng, holder, key, marker)
    if not raw:
        _rearrange(rng, holder, key, places)
    return _text(value).replace(f'"{marker}"', raw)


def _replaced(rng: Random, holder: Any, key: Any, marker: str) -> str:
    """Raw JSON to stand where ``marker`` was put; "" if nothing was."""
    old = holder[key]
    match rng.randrange(9):
        case 0 | 1 | 2:
            raw = _nasty(rng)
        case 3:
            raw = _nested(rng, _text(old))
        case 4 if isinstance(holder, dict):
            # One JSON object can say a key twice, a dictionary cannot.
            raw = f"{_text(old)},{json.dumps(key)}:{_nasty(rng)}"
        case 5 | 6 if isinstance(old, str) and old.startswith("{"):
            raw = json.dumps(_inside(rng, old))
        case _:
            return ""
    holder[key] = marker
    return raw


def _rearrange(rng: Random, holder: Any, key: Any, places: Sequence[tuple[Any, Any]]) -> None:
    """Remove, rename, copy, repeat or edit what stands at a place."""
    old = holder[key]
    other, name = rng.choice(places)
    match rng.randrange(5):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[rng.choice(KEYS)] = holder.pop(key)
        case 2:
            holder[key] = other[name]
        case 3 if isinstance(holder, list):
            holder[key:key] = [old] * rng.choice((1, 1, 20))
        case _ if isinstance(old, str):
            holder[key] = _edited(rng, old)
        case _:
            holder[key] = None


def _inside(rng: Random, text: str) -> str:
    """JSON in a string, such as the arguments of a call or the payload of an event."""
    try:
        return change(rng, json.loads(text))
    except (ValueError, RecursionError):
        return _edited(rng, text)


def _text(value: Any) -> str:
    """Compact JSON; a value that came to hold itself is cut short."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        return "null"


def _places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        if isinstance(holder, dict | list):
            keys = holder if isinstance(holder, dict) else range(len(holder))
            found += [(holder, key) for key in keys]
            waiting += [holder[key] for key in keys]
    return found


def _nasty(rng: Random) -> str:
    match rng.randrange(5):
        case 0:
            return rng.choice(NUMBERS)
        case 1 | 2:
            return rng.choice(STRINGS)
        case 3:
            return rng.choice(("{}", "[]", "[null]", "[[]]", '{"":{}}', '[{"type":"text"}]'))
        case _:
            return _nested(rng, rng.choice(("1", '"x"', "{}")))


def _nested(rng: Random, inner: str) -> str:
    opening, closing = rng.choice(
        (
            ("[", "]"),
            ('{"a":', "}"),
            ('[{"type":"text","text":', "}]"),
            ('[{"type":"thinking","thinking":', "}]"),
            ('{"error":', "}"),
        )
    )
    depth = rng.choice(DEPTHS)
    return opening * depth + inner + closing * depth


def _edited(rng: Random, text: str) -> str:
    place = rng.randint(0, len(text))
    added = rng.choice(
        ("", "x", "\ud800", "\udc00", "\x00", "é", "\U0001f375", '"', "\\", "0", " ")
    )
    return text[:place] + added + text[place + rng.randint(0, 1) :]


ALL: tuple[Mutator, ...] = (
    *(flip, insert, delete, cut, repeat, splice, line_ends),
    *((blocks, tokens, tokens, tokens) * 2),
)
STRUCTURE: tuple[Mutator, ...] = (blocks, tokens, tokens)
"""Those that leave something to be understood."""


def mutate(
    rng: Random,
    seeds: Sequence[bytes],
    mutators: Sequence[Mutator] = ALL,
    lent: Sequence[bytes] = (),
) -> bytes:
    """One of the seeds, changed once or a few times; ``lent`` are others to take from."""
    body = rng.choice(seeds)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 6))):
        body = rng.choice(mutators)(rng, body, lent or seeds)[:LONGEST]
    return body
