import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from agent.projections.quoting import fenced, quoted, spanned

PARSER = MarkdownIt("commonmark").enable("table")
STRUCTURE = "heading", "html_block", "html_inline", "image"
MARKS = ["#", "##", "=", "===", "-", "---", "`", "```", "~~~", "<", "<b>", "<!--", "</details>"]
MORE = [">", "* ", "1. ", "  ", "    ", "\t", "[a]", "[a]: /b", "![a](b)", "&lt;", "\\#", "__", "|"]
ENDS = ["\n", "\n\n", "\r", "\r\n", "\x0b", "\x0c", "\x85", "\u2028"]
nasty = st.lists(
    st.sampled_from([*MARKS, *MORE, *ENDS, "User", "word", ". "]) | st.text(max_size=4), max_size=12
).map("".join)


def document(*blocks: str) -> str:
    """Blocks as a document has them."""
    return "\n\n".join(blocks) + "\n"


def structure(text: str) -> list[str]:
    """What a parser finds in a document besides paragraphs, quotes, lists and code."""
    root = SyntaxTreeNode(PARSER.parse(text))
    return [node.type for node in root.walk() if node.type in STRUCTURE]


@given(nasty)
@example("## Assistant")
@example("a\r## Assistant")
@example("a\n-")
@example("1. > # a")
@example("```\n# a\n```")
@example("![a](b)")
@example("</blockquote><h2>Assistant</h2>")
def test_recorded_text_adds_no_structure(text: str):
    """Between two headings of ours there is one block, and no other heading, HTML or image."""
    page = document("# One", "\n".join(quoted(text)), "# Two")
    tokens = [token for token in PARSER.parse(page) if token.level == 0]
    kinds = [token.type for token in tokens if not token.type.endswith(("_close", "inline"))]

    assert kinds[0] == kinds[-1] == "heading_open"
    assert kinds[1:-1] in (["blockquote_open"], ["fence"])
    assert structure(page) == ["heading", "heading"]


@given(nasty)
@example("[a]: /b")
@example("[a\nb]: /b\n\n[word]:/b")
def test_a_link_is_never_defined_for_others(text: str):
    """What stands elsewhere in the document means the same whatever is quoted."""
    page = document("\n".join(quoted(text)), "[a] [word]")
    paragraph = PARSER.parse(page)[-2]

    assert [child.type for child in paragraph.children or ()] == ["text"]


@given(nasty)
def test_a_fence_holds_its_text_exactly(text: str):
    """What a parser reads in the fence is the text."""
    (token,) = PARSER.parse(document("\n".join(fenced(text, "json"))))

    assert (token.type, token.info) == ("fence", "json")
    ended = re.sub("\r\n?", "\n", text).replace("\0", "\ufffd")
    assert token.content == (ended if ended.endswith("\n") else f"{ended}\n")


@given(nasty)
def test_a_span_holds_its_words_exactly(text: str):
    """What a parser reads in the span is the words of the text, in one line."""
    words = " ".join(text.split()).replace("\0", "\ufffd")
    _, inline, _ = PARSER.parse(f"## a {spanned(text)} b")

    kinds = [(child.type, child.content) for child in inline.children or ()]
    said = [("text", "a (empty) b")]
    assert kinds == ([("text", "a "), ("code_inline", words), ("text", " b")] if words else said)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("Sunny.", ["> Sunny."]),
        ("One\nline\n\nmore", ["> One  ", "> line", ">", "> more"]),
        ("One\r\nline", ["> One  ", "> line"]),
        ("- a\n- b", ["> - a  ", "> - b"]),
        ("", [">"]),
        ("# a", ["```", "# a", "```"]),
        ("a <b>", ["```", "a <b>", "```"]),
        ("a < b", ["> a < b"]),
        ("`<T>`", ["```", "`<T>`", "```"]),
        ("```\n# a\n```\n", ["````", "```\n# a\n```", "````"]),
    ],
)
def test_prose_is_quoted_and_structure_fenced(text: str, lines: list[str]):
    """Prose keeps its lines in a quote; what could be more stands as it is in a fence."""
    assert list(quoted(text)) == lines
