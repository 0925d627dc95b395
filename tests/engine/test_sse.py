import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.engine.sse import ServerSentEvent, SSEParser

MESSAGES = st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])))
LINE_ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])


def events(*chunks: bytes) -> list[tuple[str, str]]:
    """Type and data of the events in a stream that comes in these chunks."""
    parser = SSEParser()
    found = [event for chunk in chunks for event in parser.feed(chunk)]
    return [(event.event, event.data) for event in (*found, *parser.finish())]


def cut(body: bytes, places: list[int]) -> list[bytes]:
    """The body in pieces."""
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(edges)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [("message", "YHOO\n+2\n10")]),
        (
            (
                b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\n"
                b"data:  third event\n\n"
            ),
            [("message", "first event"), ("message", "second event"), ("message", " third event")],
        ),
        (b"data\n\ndata\ndata\n\n", [("message", ""), ("message", "\n")]),
        (b"data:test\n\ndata: test\n\n", [("message", "test"), ("message", "test")]),
        (
            b"event: add\ndata: 7385\n\nevent: remove\ndata: 2153\n\nevent: add\ndata: 1134\n\n",
            [("add", "7385"), ("remove", "2153"), ("add", "1134")],
        ),
    ],
)
def test_the_examples_of_the_standard(body: bytes, expected: list[tuple[str, str]]) -> None:
    """What WHATWG HTML 9.2.6 shows comes out as it says."""
    assert events(body) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", []),
        (b"\n\n\r\n", []),
        (b":comment\n:\n\n", []),
        (b"event: ping\n\n", []),
        (b"event: ping\n\ndata: 1\n\n", [("message", "1")]),
        (b"retry: 10\nunknown: x\ndata: 1\n\n", [("message", "1")]),
        (b"data: a:b: c\n\n", [("message", "a:b: c")]),
        (b" data: 1\n\n", []),
        (b"data: \x00\n\n", [("message", "\x00")]),
        (b"data: \x0b\x0c\x1c\xc2\x85\xe2\x80\xa8\n\n", [("message", "\x0b\x0c\x1c\x85\u2028")]),
        (b"data: \xff!\n\n", [("message", "\ufffd!")]),
        (b"\xef\xbb\xbfdata: 1\n\n", [("message", "1")]),
        (b"data: 1\n\n\xef\xbb\xbfdata: 2\n\n", [("message", "1")]),
        (b"data: 1\rdata: 2\r\ndata: 3\n\r", [("message", "1\n2\n3")]),
        (b"data: 1\r\r\ndata: 2\r\n\r\n", [("message", "1"), ("message", "2")]),
    ],
)
def test_lines_fields_and_marks(body: bytes, expected: list[tuple[str, str]]) -> None:
    """Line ends, comments, unknown fields, a byte order mark: only the standard's rules count."""
    assert events(body) == expected


@pytest.mark.parametrize("body", [b"data: 1", b"data: 1\n", b"data: 1\r", b"data: 1\r\n"])
def test_an_event_without_its_empty_line_counts(body: bytes) -> None:
    """Servers forget it at the end of a stream."""
    assert events(body) == [("message", "1")]


def test_an_event_is_given_as_soon_as_it_is_complete() -> None:
    """A lone CR ends a line at once: nobody waits for a LF that may not come."""
    parser = SSEParser()
    assert list(parser.feed(b"data: 1\r\r")) == [ServerSentEvent("message", "1")]
    assert list(parser.feed(b"\ndata: 2\n")) == []
    assert list(parser.feed(b"\n")) == [ServerSentEvent("message", "2")]


def test_the_mark_may_be_cut() -> None:
    """The byte order mark is found when its bytes come one by one."""
    assert events(b"\xef", b"\xbb", b"", b"\xbf", b"data: 1\n\n") == [("message", "1")]


@given(MESSAGES, LINE_ENDS, st.lists(st.integers(0, 10_000)), st.booleans())
def test_any_cut_gives_the_same_events(
    messages: list[str], end: bytes, places: list[int], marked: bool
) -> None:
    """Chunks may end anywhere: in a line end, in a character, in the byte order mark."""
    body = b"\xef\xbb\xbf" * marked + b"".join(
        b": note" + end + b"event: e" + end + b"data: " + text.encode() + end + end
        for text in messages
    )
    assert events(*cut(body, places)) == [("e", text) for text in messages]


@given(st.binary(max_size=60), st.lists(st.integers(0, 60)))
def test_any_cut_of_any_bytes_gives_the_same_events(body: bytes, places: list[int]) -> None:
    """Garbage too is read the same way however it comes."""
    assert events(*cut(body, places)) == events(body)


@given(st.lists(st.sampled_from([b"data: a", b"\r", b"\n", b"\r\n", b"event: b"])), st.data())
def test_any_cut_between_line_ends_gives_the_same_events(
    lines: list[bytes], data: st.DataObject
) -> None:
    """CR, LF and CRLF mix freely."""
    body = b"".join(lines)
    places = data.draw(st.lists(st.integers(0, len(body))))
    assert events(*cut(body, places)) == events(body)


class Counted(bytes):
    """Bytes that count how many of them were split into lines."""

    counted = 0

    def splitlines(self, keepends: bool = False) -> list[bytes]:
        """Count, and split."""
        Counted.counted += len(self)
        return super().splitlines(keepends)


def test_a_huge_line_is_looked_at_once() -> None:
    """What has come of a line is not split again with each further chunk."""
    Counted.counted = 0
    size, count = 1024, 5 * 1024
    parser = SSEParser()
    found = list(parser.feed(Counted(b"data: ")))
    for _ in range(count):
        found += parser.feed(Counted(b"x" * size))
    found += parser.feed(Counted(b"\n\n"))
    assert [(event.event, len(event.data)) for event in found] == [("message", size * count)]
    assert Counted.counted == len(b"data: ") + size * count + len(b"\n\n")


def test_many_lines_in_one_chunk() -> None:
    """A chunk may hold thousands of events."""
    assert len(events(b"data: 1\n\n" * 50_000)) == 50_000
