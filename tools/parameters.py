"""Values of options that are text, or the contents of a file."""

from __future__ import annotations

from pathlib import Path

import click


def text_or_file(value: str) -> str:
    """Text as it is written; ``@FILE`` is what the file holds, and ``@@`` begins with one ``@``.

    Raises :class:`click.BadParameter` for a file that cannot be read as UTF-8.
    """
    if value.startswith("@@"):
        return value[1:]
    if not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{value[1:]} cannot be read as text: {error}") from error


def edited(value: str) -> tuple[int, str]:
    """``VERSION=TEXT``, also ``VERSION=@FILE``: new content of an event, by its version.

    Raises :class:`click.BadParameter`.
    """
    version, equals, content = value.partition("=")
    if not equals or not version.isdecimal() or not version.isascii():
        raise click.BadParameter(f"{value!r} is not VERSION=TEXT, such as 7=lost")
    return int(version), text_or_file(content)
