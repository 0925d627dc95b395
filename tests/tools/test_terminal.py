import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.tools.terminal import clipped, one_line, visible


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain\n\ttext, naïve ☃", "plain\n\ttext, naïve ☃"),
        ("\x1b[31mred", "␛[31mred"),
        ("\x07\x08\x7f", "␇␈␡"),
        ("\x9b2J", "\ufffd2J"),
        ("over\rwritten\r\n", "overwritten\n"),
        ("\u202ereversed\u2066", "\ufffdreversed\ufffd"),
    ],
)
def test_what_a_terminal_obeys_is_shown(text: str, expected: str):
    """Control characters become visible, line feeds and tabs stay, carriage returns go."""
    assert visible(text) == expected


@given(st.text())
def test_nothing_is_left_to_obey(text: str):
    """Whatever the text, only line feeds and tabs remain of the control characters."""
    left = {char for char in visible(text) if unicodedata.category(char) == "Cc"}

    assert left <= {"\n", "\t"}


@given(st.text(), st.integers(1, 40))
def test_clipped_is_one_short_line(text: str, width: int):
    """A clipped text is one line and no longer than asked for."""
    line = clipped(text, width)

    assert len(line) <= width
    assert line == one_line(line)
