"""Whom a command asks: an agent of the user's own, or a model by its name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from agent.engine.errors import ConfigurationError
from agent.tools.revisions import backwards
from agent.tools.terminal import visible

if TYPE_CHECKING:
    from agent.engine.agent import Agent
    from agent.engine.provider import Provider
    from agent.engine.stores import SQLiteStore
    from agent.eventstore.events import ModelRequested
    from agent.eventstore.log import EventLog
    from agent.tools.revisions import Place


class Who(NamedTuple):
    """Who is to be asked, as it was written; None is left to the record."""

    app: str | None
    provider: str | None
    model: str | None
    base_url: str | None


def who_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command take ``--app``, ``--provider``, ``--model`` and ``--base-url``, as ``who``."""

    @wraps(command)
    def asking(
        *,
        app: str | None,
        provider: str | None,
        model: str | None,
        base_url: str | None,
        **others: Any,  # noqa: ANN401 - the command's own options
    ) -> None:
        command(who=Who(app, provider, model, base_url), **others)

    for option in (
        click.option("--base-url", metavar="URL", help="Another server of the same protocol."),
        click.option("--model", "-m", metavar="NAME", help="Who answers; else as recorded."),
        click.option("--provider", metavar="NAME", help="Who is asked; else as recorded."),
        click.option("--app", metavar="MODULE:NAME", help="The agent that goes on."),
    ):
        asking = option(asking)
    return asking


def found_agent(app: str) -> Agent:
    """The agent of a module, which is looked for in the working directory too.

    Raises :class:`click.UsageError` for what is not found, or is none.
    """
    from agent.engine.agent import Agent  # noqa: PLC0415 - slow to import

    module, _, name = app.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(import_module(module), name or "agent")
    except (ImportError, AttributeError, ValueError) as error:
        raise click.UsageError(visible(f"--app {app}: {error}")) from error
    if not isinstance(found, Agent):
        raise click.UsageError(visible(f"--app {app} is no Agent"))
    return found


def agent_of(who: Who, store: SQLiteStore, asked: ModelRequested | None) -> Agent:
    """An agent over the sessions of a store; ``asked`` is what was recorded of the model.

    Raises :class:`ConfigurationError`, also where nobody is named.
    """
    if who.app is not None:
        if who.provider or who.base_url:
            raise ConfigurationError("--app has a provider of its own: leave out the others")
        return found_agent(who.app).over(store)
    return _made(who, store, asked)


def request_near(log: EventLog, place: Place) -> ModelRequested | None:
    """The first request after a place, else the last one up to it."""
    from agent.eventstore.events import ModelRequested  # noqa: PLC0415 - slow to import

    kind = "model.requested"
    later = log.read(place.session, after=place.version, types=(kind,))
    fact = next(chain(later, backwards(log, place.session, place.version, kind)), None)
    return fact.event if fact and isinstance(fact.event, ModelRequested) else None


def check_key(provider: Provider) -> None:
    """Raise :class:`MissingAPIKey` before anything is asked, or typed."""
    from agent.engine.providers.served import ServedProvider  # noqa: PLC0415 - slow to import

    if isinstance(provider, ServedProvider):
        provider.check_key()


def _made(who: Who, store: SQLiteStore, asked: ModelRequested | None) -> Agent:
    from agent.engine.agent import Agent  # noqa: PLC0415 - slow to import
    from agent.engine.providers.vendors import VENDORS  # noqa: PLC0415

    name = who.provider or (asked.provider if asked else "")
    if name not in VENDORS and not who.provider:
        then = (
            f"{name!r} was asked, which is no known provider" if asked else "nobody was asked yet"
        )
        raise ConfigurationError(f"{then}: name your agent with --app, or --provider and --model")
    model = who.model or (asked.model if asked and asked.provider == name else None)
    if model is None:
        raise ConfigurationError(f"name a model of {name} with --model")
    agent = Agent(name, model, store=store, base_url=who.base_url)
    if asked and not (who.provider or who.base_url) and agent.provider.encoder != asked.encoder:
        raise ConfigurationError(
            f"its requests were built by {asked.encoder}, and now it would be "
            f"{agent.provider.encoder}, as for another server: name the one that was asked with "
            f"--base-url, or confirm --provider {name}"
        )
    return agent
