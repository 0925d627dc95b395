"""How the turns of a record are configured: as an agent would today, or as each was then."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import msgspec

from agent.engine.ask import Setup
from agent.engine.errors import ConfigurationError
from agent.engine.output import Output
from agent.engine.owners import Driven
from agent.engine.past_requests import asked_provider
from agent.engine.recorded import UNLIMITED, Record
from agent.engine.scripted import ScriptedModel
from agent.engine.settings import SettingsOptions, settings_of
from agent.engine.sources import Sources
from agent.eventstore.events import TurnResumed, TurnStarted
from agent.eventstore.values import Settings, ToolDefinition

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from agent.engine.provider import Provider
    from agent.eventstore.values import OutputSchema

replace = msgspec.structs.replace


class Today(msgspec.Struct, frozen=True):
    """What an agent brings to every turn, and the shapes that it knows by their names."""

    base: Setup
    default_model: str
    options: SettingsOptions
    outputs: Mapping[str, Output[Any]] = {}

    @property
    def provider(self) -> Provider:
        """Who is asked today."""
        return self.base.provider

    def setup(
        self,
        begins: TurnStarted | TurnResumed,
        record: Record,
        known: Sequence[ToolDefinition],  # noqa: ARG002 - it has its own
    ) -> Setup:
        """What a turn that begins works with. No record says how fast today is."""
        return replace(
            self.base,
            limits=replace(self.base.limits, deadline=None),
            sources=_sources(begins),
            answered=record.resolved,
            driven=Driven(),
        )

    def model(self, recorded: str, *, own: bool) -> str:
        """The model of a turn; ``own`` says that it was chosen for that turn alone."""
        return recorded if own else self.default_model

    def settings(self, recorded: TurnStarted) -> Settings:
        """Those of a turn: the agent's, but for what was chosen for that turn alone."""
        own = {name: getattr(recorded.settings, name) for name in recorded.own if name != "model"}
        return replace(settings_of(self.options), **own)

    def output(self, schema: OutputSchema) -> Output[Any] | None:
        """The type that stands behind a shape; None if it was not given."""
        return self.outputs.get(schema.name)


class AsRecorded(msgspec.Struct, frozen=True):
    """What the record says of every turn; ``provider`` encodes where no built-in one can."""

    provider: Provider | None

    def setup(
        self, begins: TurnStarted | TurnResumed, record: Record, known: Sequence[ToolDefinition]
    ) -> Setup:
        """What a turn that begins works with; ``known`` are the tools declared before it."""
        asked = record.asked
        return Setup(
            asked_provider(asked, self.provider) if asked else ScriptedModel(()),
            record.tools(known),
            UNLIMITED,
            _sources(begins),
            requires_approval=record.asks_a_person,
            answered=record.answered,
            driven=Driven(),
        )

    def model(self, recorded: str, *, own: bool) -> str:  # noqa: ARG002 - it is recorded anyway
        """The model that was asked."""
        return recorded

    def settings(self, recorded: TurnStarted) -> Settings:
        """Those of then."""
        return recorded.settings

    def output(self, schema: OutputSchema) -> Output[Any] | None:  # noqa: ARG002 - none was kept
        """No type is recorded."""
        return None


Configuration = Today | AsRecorded


@runtime_checkable
class Configured(Protocol):
    """What can say how turns are taken today: an agent."""

    def today(self, schemas: Sequence[type[Any] | TypeAdapter[Any]] = ()) -> Today:
        """What it brings to every turn."""
        ...


def today_of(agent: Configured, schemas: Sequence[type[Any] | TypeAdapter[Any]]) -> Today:
    """What an agent brings. Raises :class:`ConfigurationError` for what is none."""
    if not isinstance(agent, Configured):  # pyright: ignore[reportUnnecessaryIsInstance] - user input
        raise ConfigurationError(
            f"a session is taken again by an Agent, not by {reprlib.repr(agent)}"
        )
    return agent.today(schemas)


def configuration_of(
    agent: Configured | None,
    schemas: Sequence[type[Any] | TypeAdapter[Any]],
    provider: Provider,
) -> Configuration:
    """What an agent brings, or what is recorded. Raises :class:`ConfigurationError`."""
    if agent is not None:
        return today_of(agent, schemas)
    if schemas:
        raise ConfigurationError("schemas= are those of an agent of today: give it too")
    return AsRecorded(provider)


def _sources(begins: TurnStarted | TurnResumed) -> Sources:
    """Time that does not pass, and the process of then."""
    return Sources(monotonic=float, owner=lambda: begins.owner, jitter=float)
