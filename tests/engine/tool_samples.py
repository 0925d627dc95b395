"""Types that tools take, and how a model sees and calls a tool."""

import enum
import json
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from agent import Tool, ToolContext
from agent.engine.tools import Toolset

CONTEXT = ToolContext("s", "call_1", "key")


class Place(BaseModel):
    """A place."""

    city: str
    country: str = "France"


class Unit(enum.Enum):
    C = "celsius"
    F = "fahrenheit"


def schema(function: Callable[..., Any]) -> Any:
    """The JSON Schema that the model is shown."""
    return json.loads(bytes(Toolset([function]).definitions[0].parameters))


def invoke(function: Callable[..., Any], arguments: Any) -> object:
    """Call a function as a model would."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    (made,) = [item if isinstance(item, Tool) else Tool(item) for item in [function]]
    return made.invoke(text, CONTEXT)
