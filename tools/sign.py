"""``agent sign``: a signed head of a log, to keep elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import click

from agent.tools.bar import walk
from agent.tools.revisions import resolve
from agent.tools.source import db_option, reading

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("session", required=False)
@db_option
@click.option("--key", "-k", type=_FILE, help="File of the private key to sign with.")
@click.option("--new-key", type=_FILE, help="Make a key in this file, and show its public half.")
@click.option("--name", help="Name of the new key and so of the log: example.com/support-log.")
@click.option("--output", "-o", type=_FILE, help="Where to write the note; else to stdout.")
def sign(
    *,
    session: str | None,
    db: Path | None,
    key: Path | None,
    new_key: Path | None,
    name: str | None,
    output: Path | None,
) -> None:
    """Sign what a log holds, for a note to keep elsewhere.

    The log is checked first. With SESSION, one session is signed instead of all. Keep the note
    where whoever can write the log cannot: agent verify --head holds the log against it. Needs
    the extra: pip install 'agent-sessions[sign]'.

    \b
    Examples:
      agent sign --new-key log.key --name example.com/support-log > log.pub
      agent sign --key log.key -o heads.txt
    """  # noqa: D301 - click's mark for lines that stay as they are
    if (new_key is None) == (key is None) or (new_key is None) != (name is None):
        raise click.UsageError("give --key FILE to sign, or --new-key FILE and --name to make one")
    try:
        if new_key is not None:
            click.echo(_made(new_key, name or ""))
            return
        note = _note(key or Path(), db, session)
    except ModuleNotFoundError as error:
        if error.name != "cryptography":
            raise
        raise click.ClickException(str(error)) from error
    if output is None:
        click.echo(note, nl=False)
    else:
        output.write_text(note, encoding="utf-8")


def _made(path: Path, name: str) -> str:
    """Make a key in a new file that only its owner may read; returns the public half."""
    from agent.eventstore.notes import SigningKey  # noqa: PLC0415 - slow to import

    made = SigningKey.generate(name)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise click.ClickException(
            f"{path} is there already, and a key is never replaced"
        ) from error
    with os.fdopen(file, "w", encoding="utf-8") as written:
        written.write(f"{made.text}\n")
    return made.verifying.text


def _note(path: Path, db: Path | None, session: str | None) -> str:
    from agent.eventstore.notes import SigningKey  # noqa: PLC0415 - slow to import
    from agent.eventstore.signing import sign_log, sign_stream  # noqa: PLC0415

    key = SigningKey.parse(path.read_text(encoding="utf-8", errors="replace").strip())
    with reading(db) as store:
        if session is not None:
            return sign_stream(store.log, resolve(store.log, session).session, key)
        with walk(store.log, "checking") as progress:
            return sign_log(store.log, key, progress=progress)
