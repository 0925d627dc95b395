"""Recorded text inside of Markdown: it stays in its place, whatever it holds.

Text without any structure of its own is quoted, so that it reads and wraps as prose. Text that
could be taken for a heading, HTML, an image or a definition that holds elsewhere in the document
stands in a fence, as it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONTAINERS = r"^[\s\d>*+.)=-]*"
"""What may stand before a block on its line: quotes and lists, and spaces."""

_STRUCTURE: Final = re.compile(
    "|".join(
        (
            _CONTAINERS + "#",
            _CONTAINERS + r"[=-][ \t]*$",  # makes a heading of the line before
            r"<[A-Za-z/!?]",
            r"!\[",  # fetched from elsewhere as soon as somebody looks
            r"\]:",  # a link or a note that holds in the whole document
            r"&[\w#]+;",
            r"\\[!-/:-@\[-`{-~]",
            "__",
            "[\x00-\x08\x0b-\x1f\x7f\x85\u2028\u2029]",
        )
    ),
    re.MULTILINE,
)
"""Structure, and what would be shown as something else than what was said."""

_LINE_END: Final = re.compile(r"\r\n?")


def quoted(text: str) -> Iterator[str]:
    """Recorded text as lines of a block: a quote, or a fence for text with structure."""
    text = _LINE_END.sub("\n", text)
    if _STRUCTURE.search(text):
        yield from fenced(text)
        return
    lines = text.split("\n")
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        broken = "  " if line.strip() and after.strip() else ""  # else both would be one line
        yield f"> {line}".rstrip() + broken


def fenced(text: str, language: str = "") -> Iterator[str]:
    """Recorded text as lines of a code block, exactly as it is.

    >>> list(fenced("a ``` b"))
    ['````', 'a ``` b', '````']
    """
    fence = "`" * max(3, _longest_run(text) + 1)
    yield f"{fence}{language}"
    yield text.removesuffix("\n")
    yield fence


def spanned(text: str) -> str:
    """Recorded text inside of a line: a code span, white space made one space.

    >>> spanned("a`b")
    '``a`b``'
    """
    words = " ".join(text.split())
    if not words:
        return "(empty)"
    ticks = "`" * (_longest_run(words) + 1)
    pad = " " if "`" in (words[0], words[-1]) else ""
    return f"{ticks}{pad}{words}{pad}{ticks}"


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
