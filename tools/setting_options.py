"""The settings of a turn as options of a command: ``--max-tokens`` for ``max_tokens``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, cast, get_args, get_type_hints

import click

from agent.engine.settings import SettingsOptions


def setting_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command take every setting, as ``settings``: those that were given, by their names."""
    kinds = get_type_hints(SettingsOptions)

    @wraps(command)
    def setting(**options: Any) -> None:  # noqa: ANN401 - of every command
        given = {name: options.pop(name) for name in kinds}
        chosen = {name: value for name, value in given.items() if value not in (None, ())}
        command(settings=chosen, **options)

    made: Callable[..., Any] = setting
    for name, kind in reversed(kinds.items()):
        made = _option(name, kind)(made)
    return made


def _option(name: str, kind: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # noqa: ANN401 - a type
    flag = f"--{name.replace('_', '-')}"
    if kind is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", default=None)
    if kind in (int, float, str):
        return click.option(flag, type=kind)
    if kind == Mapping[str, Any]:
        return click.option(flag, metavar="JSON", type=_json_object)
    if all(isinstance(one, str) for one in get_args(kind)):
        return click.option(flag, type=click.Choice(get_args(kind)))
    return click.option(flag, metavar="TEXT", multiple=True)


def _json_object(text: str) -> Mapping[str, Any]:
    """A JSON object. Raises :class:`click.BadParameter`."""
    try:
        value: Any = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise click.BadParameter(f"{text!r} is no JSON object")
    return cast("dict[str, Any]", value)
