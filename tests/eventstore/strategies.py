"""Any event at all, by introspection of the types: a new event type is covered at once."""

from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import strategies as st

from agent.eventstore.events import EVENTS, Event
from agent.eventstore.rawjson import to_raw

texts = st.text(max_size=20)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
scalars = {
    str: texts,
    int: st.integers(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    type(None): st.none(),
    msgspec.Raw: json_values.map(lambda value: to_raw(value, of="a test")),
}


@cache
def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of an annotated type."""
    if kind in scalars:
        return scalars[kind]
    match get_origin(kind):
        case origin if origin is Literal:
            return st.sampled_from(get_args(kind))
        case origin if origin in (Union, UnionType):
            return st.one_of(*map(values, get_args(kind)))
        case origin if origin is tuple:
            return st.lists(values(get_args(kind)[0]), max_size=3).map(tuple)
        case _:
            hints = get_type_hints(kind)
            return st.builds(kind, **{name: values(hints[name]) for name in kind.__struct_fields__})


events: st.SearchStrategy[Event] = st.sampled_from(list(EVENTS.values())).flatmap(values)
