"""``agent import``: sessions from elsewhere, checked whole before anything is written."""

from __future__ import annotations

import shutil
import sys
import tempfile
from bisect import bisect_left
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from agent.eventstore.errors import ConflictError, InvalidEvent
from agent.eventstore.jsonl.lines import LONGEST_HEADER
from agent.tools.bar import bar
from agent.tools.exits import Damaged
from agent.tools.formats import FORMATS, format_of_value, is_lines, json_of, model_of
from agent.tools.source import db_option, made_default
from agent.tools.terminal import one_line

if TYPE_CHECKING:
    from agent.engine.providers.transcript import Transcript
    from agent.engine.session import Session
    from agent.engine.stores import SQLiteStore
    from agent.eventstore.messages import Message

_READ = [name for name in FORMATS if name != "markdown"]


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@db_option
@click.option("--format", "name", type=click.Choice(_READ), help="[default: what the file holds]")
@click.option("--session", metavar="ID", help="Take it in as this session.")
def import_(*, file: str, db: Path | None, name: str | None, session: str | None) -> None:
    """Take sessions of a file into a log.

    FILE may be - for stdin. A log is made if there is none. A session that is there already gets
    what it misses; if it has gone on, or is another one, nothing is written and the status is 1.
    Messages become a new session, or go on with one.

    \b
    Examples:
      agent import sessions.jsonl
      agent import history.openai.json --session trip
    """  # noqa: D301 - click's mark for lines that stay as they are
    with _opened(file) as data:
        start = data.read(LONGEST_HEADER)
        data.seek(0)
        if name == "jsonl" or (name is None and is_lines(start)):
            _take_lines(data, db, session)
        else:
            _take_value(json_of(data.read()), name, db, session)


@contextmanager
def _opened(file: str) -> Generator[BinaryIO]:
    """The file, from its start and as often as wanted; stdin is kept in a temporary one."""
    if file != "-":
        with Path(file).open("rb") as data:
            yield data
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.seek(0)
        yield copy


@contextmanager
def _writing(db: Path | None) -> Generator[SQLiteStore]:
    """The store over a log; one that is made is told of. Conflicts name the ways out."""
    from agent.engine.stores import SQLiteStore  # noqa: PLC0415 - slow to import

    path = db or made_default()
    known = path.exists()
    try:
        with SQLiteStore(path) as store:
            yield store
    except ConflictError as error:
        ways = "--session ID takes it in beside; agent export keeps what is there"
        raise click.ClickException(one_line(f"{error} ({ways})")) from error
    finally:
        if not known and path.exists():
            click.echo(one_line(f"made the log {path}"), err=True)


def _take_lines(data: BinaryIO, db: Path | None, session: str | None) -> None:
    if session is not None:
        raise click.UsageError("in jsonl each session has its name; --session is for one alone")
    with _writing(db) as store, bar("importing") as progress:
        new = store.import_(data, progress=progress)
    click.echo(f"sessions {new.sessions:,}, events {new.events:,}")


def _take_value(value: Any, name: str | None, db: Path | None, session: str | None) -> None:  # noqa: ANN401 - JSON
    name = name or format_of_value(value)
    if name == "json":
        _take_session(value, db, session)
    else:
        _take_messages(value, name, db, session)


def _take_session(data: Mapping[str, Any], db: Path | None, session: str | None) -> None:
    from agent.engine.agent import Agent  # noqa: PLC0415 - slow to import
    from agent.engine.scripted import ScriptedModel  # noqa: PLC0415
    from agent.engine.session import Session  # noqa: PLC0415
    from agent.engine.stores import checked_export  # noqa: PLC0415
    from agent.eventstore.importing import holds  # noqa: PLC0415

    with _writing(db) as store:
        agent = Agent(ScriptedModel([]), store=store)
        key = None if session is None else agent.new_key(session)
        if key is not None and holds(store.log, key, checked_export(data).head):
            taken = agent.session(key)
        else:
            taken = Session.from_dict(data, agent, key)
        click.echo(one_line(f"{taken.session_id}@{taken.version}"))


def _take_messages(value: Any, name: str, db: Path | None, session: str | None) -> None:  # noqa: ANN401 - JSON
    from agent.engine.agent import Agent  # noqa: PLC0415 - slow to import
    from agent.engine.errors import InvalidPrompt  # noqa: PLC0415
    from agent.engine.prompts import checked_history  # noqa: PLC0415
    from agent.engine.providers.formats import read_messages  # noqa: PLC0415
    from agent.engine.scripted import ScriptedModel  # noqa: PLC0415
    from agent.projections.pairing import PairingError  # noqa: PLC0415

    try:
        transcript = read_messages(value, name)
        messages = checked_history(transcript.messages)
    except (InvalidPrompt, PairingError, InvalidEvent) as error:
        raise Damaged(one_line(f"{error}. Nothing was imported")) from error
    if not messages:
        raise Damaged("it holds no messages. Nothing was imported")
    with _writing(db) as store:
        agent = Agent(ScriptedModel([]), store=store)
        key = agent.new_key(session)
        if store.log.head(key) is None:
            taken = agent.session(key, system=transcript.system, messages=messages[:-1])
            taken.add_message(messages[-1])
        else:
            taken = agent.session(key)
            missing = _missing(taken, transcript, name, model_of(value))
            if missing:
                taken.add_message(*missing)
        click.echo(one_line(f"{key}@{taken.version}"))
    for loss in transcript.left_out:
        click.echo(one_line(f"{key}: not taken in: {loss}"), err=True)


def _missing(session: Session, given: Transcript, name: str, model: str) -> Sequence[Message]:
    """What a session lacks of a conversation that begins as it does, in the words of a format.

    Raises ``ClickException`` for another conversation.
    """
    from agent.engine.providers.formats import write_messages  # noqa: PLC0415 - slow to import

    def first(count: int) -> dict[str, Any]:
        return write_messages(given.messages[:count], name, system=system, model=model)

    system = given.system or session.system
    held = session.to_messages(name)
    held.pop("model", None)
    shared = len(session.messages)
    if first(shared) != held:  # one message of ours may be read again as two
        counts, items = range(len(given.messages) + 1), len(held["messages"])
        shared = bisect_left(counts, items, key=lambda count: len(first(count)["messages"]))
    if first(shared) != held:
        raise click.ClickException(
            f"session {one_line(session.session_id)} says something else, or more. Nothing was "
            "imported: take another --session ID, or rewind the session to where both are the same"
        )
    return given.messages[shared:]
