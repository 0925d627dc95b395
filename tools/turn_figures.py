"""What a turn took: calls, tokens and time, counted as its events come."""

from __future__ import annotations

from agent.eventstore.events import Event, ModelFailed, ModelResponded, ToolReturned
from agent.eventstore.values import Usage
from agent.tools.output import counted

_ENDS = {"turn.completed", "turn.failed", "turn.abandoned"}


class TurnFigures:
    """Counts events; after the last of a turn it tells, if it has seen the turn from its start."""

    def __init__(self) -> None:
        self._begin(whole=False)

    def _begin(self, *, whole: bool) -> None:
        self._whole = whole
        self._asked = 0
        self._tools = 0
        self._usage = Usage()
        self._model_time = 0.0
        self._tool_time = 0.0

    def add(self, kind: str, event: Event | str) -> str:
        """Count an event of this type; at the end of a turn, what it took in words."""
        if kind == "turn.started":
            self._begin(whole=True)
        match event:
            case ModelResponded(usage=usage, elapsed=elapsed):
                self._asked += 1
                self._usage += usage
                self._model_time += elapsed
            case ModelFailed(usage=usage, elapsed=elapsed):
                self._asked += 1
                self._usage += usage or Usage()
                self._model_time += elapsed
            case ToolReturned(elapsed=elapsed):
                self._tools += 1
                self._tool_time += elapsed
            case _:
                pass
        return self._words() if self._whole and kind in _ENDS else ""

    def _words(self) -> str:
        words = f"{counted(self._asked, 'model call')} in {self._model_time:.1f} s"
        if self._tools:
            words += f", {counted(self._tools, 'tool call')} in {self._tool_time:.1f} s"
        tokens = self._usage
        return f"{words}, tokens: {tokens.input_tokens:,} in, {tokens.output_tokens:,} out"
