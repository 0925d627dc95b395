import pytest

from agent.engine.errors import MalformedResponse
from agent.engine.providers.origin import Origin
from agent.engine.providers.wire import Object

ORIGIN = Origin("gemini", "generate_content", "m")


def test_data_goes_back_only_where_it_came_from() -> None:
    """To the same provider, protocol and model."""
    opaque = ORIGIN.opaque({"a": 1})
    assert ORIGIN.own(opaque) == {"a": 1}
    assert ORIGIN.own(None) is None
    others = (
        ("x", "generate_content", "m"),
        ("gemini", "x", "m"),
        ("gemini", "generate_content", "x"),
    )
    assert [Origin(*other).own(opaque) for other in others] == [None, None, None]


def test_data_that_no_log_can_hold() -> None:
    """It makes a malformed answer, not one that is lost when it is stored."""
    data: Object = {}
    for _ in range(101):
        data = {"a": data}
    with pytest.raises(MalformedResponse, match="nested deeper"):
        ORIGIN.opaque(data)
