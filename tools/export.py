"""``agent export``: sessions for elsewhere, as a whole or in other words."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from agent.tools.bar import bar
from agent.tools.completion import session_ids
from agent.tools.formats import FORMATS, format_of_name
from agent.tools.revisions import Place, names_version, resolve
from agent.tools.source import db_option, reading
from agent.tools.terminal import one_line, visible

if TYPE_CHECKING:
    from agent.engine.stores import SQLiteStore
    from agent.eventstore.record import Recorded
    from agent.projections.losses import Loss


@click.command()
@click.argument("revisions", shell_complete=session_ids, nargs=-1)
@db_option
@click.option("--all", "everything", is_flag=True, help="All sessions of the log.")
@click.option(
    "--format",
    "name",
    type=click.Choice(list(FORMATS)),
    help="How to write it.  [default: what the name of the file says, else jsonl]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A new file, there once it is whole; stdout without.",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def export(
    *,
    revisions: tuple[str, ...],
    db: Path | None,
    everything: bool,
    name: str | None,
    output: Path | None,
    force: bool,
) -> None:
    """Write sessions to a file, whole or in other words.

    jsonl and json hold whole sessions, for agent import. markdown is for people; openai and
    anthropic are the visible messages as these take them. stderr tells what is left out. Without
    a REVISION it is the session that was changed last.

    \b
    Examples:
      agent export --all -o sessions.jsonl
      agent export trip~1 --format markdown
    """  # noqa: D301 - click's mark for lines that stay as they are
    if everything and revisions:
        raise click.UsageError("name revisions, or --all sessions")
    chosen = FORMATS[name or format_of_name(output, next(iter(FORMATS)))]
    with reading(db) as store:
        if everything:
            places = list(_all(store))
        else:
            places = list(_named(store, revisions or ("@",), whole=chosen.name == "jsonl"))
        if len(places) > 1 and not chosen.several:
            raise click.UsageError(f"{chosen.name} holds one session, not {len(places)}")
        with _opened(output, force=force) as out:
            left_out = _written(store, places, chosen.name, out)
    for place, loss in left_out:
        click.echo(one_line(f"{place}: not in {chosen.name}: {loss}"), err=True)
    if chosen.name == "markdown":
        click.echo("markdown is for people: agent import does not read it", err=True)


def _all(store: SQLiteStore) -> Iterator[Place]:
    for info in store.log.streams():
        head = info.head or store.log.head(info.stream)
        yield Place(info.stream, head.version if head else 0)


def _named(store: SQLiteStore, revisions: Iterable[str], *, whole: bool) -> Iterable[Place]:
    """The places that revisions name; of ``whole`` sessions none that is no more."""
    places: dict[Place, None] = {}
    for revision in revisions:
        place = resolve(store.log, revision)
        # Others may be writing: what is named without a version is as it is when it is written.
        if whole and names_version(store.log, revision) and _has_moved(store, place):
            raise click.UsageError(
                f"jsonl holds sessions as they are now, not {one_line(str(place))}: "
                "take --format json, or fork it first"
            )
        places[place] = None
    return places


def _has_moved(store: SQLiteStore, place: Place) -> bool:
    head = store.log.head(place.session)
    return head is None or head.version != place.version


@contextmanager
def _opened(path: Path | None, *, force: bool) -> Generator[BinaryIO]:
    """Where to write: a new file, or stdout, on a terminal without what that would obey."""
    from agent.eventstore.files import new_file  # noqa: PLC0415 - slow to import

    if path is not None:
        if not force and path.exists():
            raise click.UsageError(f"{path} is there already; --force replaces it")
        with new_file(path, replacing=force) as made, made.open("xb") as file:
            yield file
    elif sys.stdout.isatty():
        held = io.BytesIO()
        yield held
        click.echo(visible(held.getvalue().decode(errors="replace")), nl=False)
    else:
        yield sys.stdout.buffer
        sys.stdout.flush()  # before what is said of it on stderr


def _written(
    store: SQLiteStore, places: Sequence[Place], name: str, out: BinaryIO
) -> list[tuple[Place, Loss]]:
    """Write the places in a format; answers what was left out of each."""
    if name == "jsonl":
        _write_lines(store, places, out)
        return []
    content, left_out = _handed_over(store, places[0], name)
    if isinstance(content, str):
        out.write(visible(content).encode())
    else:
        indent = None if name == "json" else 2
        out.write(json.dumps(content, ensure_ascii=False, indent=indent).encode() + b"\n")
    return [(places[0], loss) for loss in left_out]


def _write_lines(store: SQLiteStore, places: Sequence[Place], out: BinaryIO) -> None:
    with bar("exporting") as progress:
        store.export(out, [place.session for place in places], progress=progress)


def _handed_over(store: SQLiteStore, place: Place, name: str) -> tuple[Any, Sequence[Loss]]:
    from agent.engine.handover import Seen, as_markdown, as_messages  # noqa: PLC0415 - slow
    from agent.engine.past_states import PastStates  # noqa: PLC0415
    from agent.eventstore.export import export_events  # noqa: PLC0415

    facts = list(_told(store.log.read(place.session, until=place.version), place.version))
    if name == "json":
        return export_events(facts, store.log), ()
    state = PastStates(store.log, place.session).at(place.version)
    seen = Seen(state, facts, store.log.get_blob)
    taken = as_markdown(seen) if name == "markdown" else as_messages(seen, name)
    return taken.content, taken.left_out


def _told(facts: Iterable[Recorded], total: int) -> Iterator[Recorded]:
    """The facts, with a bar while they are read."""
    with bar("reading") as progress:
        for done, fact in enumerate(facts, start=1):
            yield fact
            if progress is not None:
                progress(done, total)
