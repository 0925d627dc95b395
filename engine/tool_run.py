"""One call of a tool, on its way."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import msgspec

from agent.engine.tool_loop import tool_loop
from agent.engine.tool_results import content_of
from agent.engine.tools import Tool, ToolContext
from agent.eventstore.messages import ResultContent


class ToolRun(msgspec.Struct, frozen=True):
    """A call that is to be executed: the tool, the model's arguments, and their context."""

    tool: Tool[..., Any]
    arguments: str
    context: ToolContext

    def execute(self) -> tuple[ResultContent, ...]:
        """Run it to its end in this thread; a result to await is awaited on the tools' loop."""
        value = self.tool.invoke(self.arguments, self.context)
        if inspect.isawaitable(value):
            value = asyncio.run_coroutine_threadsafe(_settled(value), tool_loop().loop).result()
        return content_of(value)

    async def execute_async(self) -> tuple[ResultContent, ...]:
        """Run it to its end on this event loop."""
        return content_of(await _settled(self.tool.invoke(self.arguments, self.context)))


async def _settled(value: object) -> object:
    """A result, once everything in it that has to be awaited is."""
    while inspect.isawaitable(value):
        value = await value
    return value
