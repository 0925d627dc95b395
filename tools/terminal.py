"""The terminal: what may be written to it, and whether in colour."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_BIDI = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_VISIBLE: dict[int, str | None] = {
    **{code: chr(0x2400 + code) for code in range(0x20)},
    0x7F: "\N{SYMBOL FOR DELETE}",
    **dict.fromkeys((*range(0x80, 0xA0), *_BIDI), _REPLACEMENT),
    ord("\t"): "\t",
    ord("\n"): "\n",
    ord("\r"): None,
}


def visible(text: str) -> str:
    r"""The text without anything that a terminal obeys: it can be read, and moves nothing.

    Line feeds and tabs stay, carriage returns go. Every other control character is shown as a
    picture, and what reverses the direction of text as U+FFFD.

    >>> visible("\x1b[2Jgone?")
    '␛[2Jgone?'
    """
    return text.translate(_VISIBLE)


def one_line(text: str) -> str:
    """The visible text in one line."""
    return " ".join(visible(text).split())


def clipped(text: str, characters: int) -> str:
    """The visible text in one line, cut to so many characters."""
    line = one_line(text)
    return line if len(line) <= characters else line[: characters - 1].rstrip() + "…"


def is_coloured(stream: TextIO) -> bool:
    """Whether to write colours to a stream: to a terminal that has them, unless NO_COLOR is set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def set_errors(stream: TextIO, errors: str) -> None:
    """Choose what a standard stream does with characters that its encoding does not have."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=errors)


def console(stream: TextIO) -> Console:
    """A rich console on a stream; plain text where colours are not wanted."""
    from rich.console import Console  # noqa: PLC0415 - slow to import

    return Console(
        file=stream,
        color_system="auto" if is_coloured(stream) else None,
        highlight=False,
        markup=False,
        emoji=False,
    )
