"""Many sessions replayed, from a store, as objects or as exports, and what came of it."""

from __future__ import annotations

import reprlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Unpack

import msgspec

from agent.engine.agent import Agent
from agent.engine.configurations import configuration_of, today_of
from agent.engine.divergence import counted
from agent.engine.edits import ReplayOptions, TodayOptions, edits_of
from agent.engine.errors import ConfigurationError
from agent.engine.replay import Replay
from agent.engine.scripted import ScriptedModel
from agent.engine.session import Session
from agent.engine.stores import LogStore, SessionStore
from agent.eventstore.errors import AgentError

Source = Session | Mapping[str, Any]
"""A recorded session: the session itself, or what ``to_dict`` gave."""


class Replays(msgspec.Struct, frozen=True):
    """What came of the replays of many sessions; true if nothing would be different today."""

    results: tuple[Replay, ...]

    def __bool__(self) -> bool:
        """Whether all were replayed, and nothing is different."""
        return all(self.results)

    @property
    def diverged(self) -> tuple[Replay, ...]:
        """Those in which something would be different."""
        return tuple(result for result in self.results if result.divergence is not None)

    @property
    def failed(self) -> tuple[Replay, ...]:
        """Those that could not be replayed."""
        return tuple(result for result in self.results if result.error is not None)

    @property
    def causes(self) -> dict[str, int]:
        """In how many sessions each cause is the likeliest; the most frequent first."""
        found = (result.divergence for result in self.diverged)
        known = (one.cause or "a cause unknown" for one in found if one is not None)
        return dict(Counter[str](known).most_common())

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        events = sum(result.events for result in self.results)
        yield (
            f"{counted(len(self.results), 'session')}, {counted(events, 'event')}: "
            f"{sum(map(bool, self.results))} the same, {len(self.diverged)} different, "
            f"{len(self.failed)} not replayed"
        )
        for cause, count in self.causes.items():
            yield f"  {count} by {cause}"
        for result in self.failed:
            yield f"  {result}"


def replay(source: Source, agent: Agent | None = None, **options: Unpack[ReplayOptions]) -> Replay:
    """As :meth:`Session.replay <agent.Session.replay>`, for a session or an export.

    Nothing is imported anywhere. Raises :class:`InvalidExport` too.
    """
    return _session(source, agent).replay(agent, **options)


def rewrite(source: Source, agent: Agent, **options: Unpack[TodayOptions]) -> dict[str, Any]:
    """As :meth:`Session.rewritten <agent.Session.rewritten>`, for a session or an export."""
    return _session(source, agent).rewritten(agent, **options)


def _session(source: Source, agent: Agent | None) -> Session:
    """A session to look at; an export is imported nowhere but in memory."""
    if isinstance(source, Session):
        return source
    if isinstance(source, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - user input
        return Session.from_dict(source, _reader(agent))
    raise ConfigurationError(
        f"a session or the dictionary of its to_dict() is replayed, not {type(source).__name__}"
    )


def _reader(agent: Agent | None, store: SessionStore | None = None) -> Agent:
    """An agent that opens what is replayed: without a store, nowhere but in memory."""
    if agent is None:
        return Agent(ScriptedModel(()), store=store)
    today = today_of(agent, ())
    return Agent(today.provider, today.default_model, store=store)


def replay_all(
    sources: SessionStore | Iterable[Source],
    agent: Agent | None = None,
    *,
    progress: Callable[[Replay], object] | None = None,
    **options: Unpack[TodayOptions],
) -> Replays:
    """Replay many sessions one after the other: all of a store, or those that are given.

    ``progress`` is called with each result as it comes. A session that cannot be read or replayed
    is a result with an ``error``, and the others are replayed all the same. Raises
    :class:`ConfigurationError` for what could work with none of them.
    """
    configuration_of(agent, options.get("schemas", ()), _reader(agent).provider)
    edits_of((), {**options})
    results: list[Replay] = []
    for name, read in _each(sources, agent):
        try:
            result = replay(read(), agent, **options)
        except AgentError as error:
            result = Replay(name, 0, 0, error=error)
        results.append(result)
        if progress is not None:
            progress(result)
    return Replays(tuple(results))


def _each(
    sources: SessionStore | Iterable[Source], agent: Agent | None
) -> Iterator[tuple[str, Callable[[], Source]]]:
    """Each session's name, and how to get it."""
    if isinstance(sources, Session | Mapping | str):
        raise ConfigurationError(
            "sessions or exports are given in a list, or as the store that keeps them; replay() "
            f"takes a single one, and this is of type {type(sources).__name__}"  # pyright: ignore[reportUnknownArgumentType]
        )
    match sources:
        case LogStore():
            reader = _reader(agent, sources)
            for key in sources.list_sessions():
                yield key, lambda key=key: reader.session(key)
        case SessionStore():
            for key in sources.list_sessions():
                yield key, lambda key=key: sources.load(key) or {}
        case _:
            for source in sources:
                yield _name_of(source), lambda source=source: source


def _name_of(source: object) -> str:
    match source:
        case Session():
            return source.session_id
        case {"session_id": str(name)}:
            return name
        case _:
            return reprlib.repr(source)
