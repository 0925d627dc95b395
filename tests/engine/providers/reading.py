"""Bodies run through parsers to their end."""

import itertools

from agent.engine.http.exchange import Parser
from agent.engine.provider import Answer, ReasoningDelta, TextDelta
from agent.eventstore.messages import Message, ReasoningPart


class Read:
    """A body as a parser reads it."""

    def __init__(self, parser: Parser, *pieces: bytes) -> None:
        self.deltas = [delta for piece in pieces for delta in parser.feed(piece)]
        self.deltas += parser.finish()
        self.answer: Answer = parser.answer()

    @property
    def texts(self) -> list[str]:
        """The deltas of text."""
        return [delta.text for delta in self.deltas if isinstance(delta, TextDelta)]

    @property
    def reasonings(self) -> list[str]:
        """The deltas of reasoning."""
        return [delta.text for delta in self.deltas if isinstance(delta, ReasoningDelta)]

    @property
    def reasoning(self) -> str:
        """The reasoning of the answer."""
        return self.reasoning_of(self.answer.message)

    @staticmethod
    def reasoning_of(message: Message) -> str:
        """The reasoning of a message."""
        return "".join(part.text for part in message.parts if isinstance(part, ReasoningPart))

    @property
    def calls(self) -> list[tuple[str, str, str]]:
        """Id, name and arguments of the calls."""
        calls = self.answer.message.tool_calls
        return [(part.call_id, part.name, part.arguments) for part in calls]


def cut(body: bytes, places: list[int]) -> list[bytes]:
    """The body in pieces."""
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(edges)]
