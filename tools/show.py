"""``agent show``: one event, and what there was after it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
import msgspec

from agent.tools import exits
from agent.tools.completion import session_ids
from agent.tools.facts import Facts, time_of
from agent.tools.output import Form, local_time, output_options, write_document, write_lines
from agent.tools.revisions import Place, backwards, resolve
from agent.tools.source import db_option, reading_log
from agent.tools.terminal import one_line, visible

if TYPE_CHECKING:
    from agent.engine.past_requests import PastRequest
    from agent.eventstore.backends.sqlite import SQLiteLog
    from agent.eventstore.record import Recorded

What = Literal["event", "state", "request", "raw"]


@click.command()
@click.argument("revision", shell_complete=session_ids, default="@")
@db_option
@click.option(
    "--state", "what", flag_value="state", help="What the session was: messages, usage, open turn."
)
@click.option(
    "--request", "what", flag_value="request", help="The last model request so far, to the byte."
)
@click.option("--raw", "what", flag_value="raw", help="The stored payload of the event.")
@output_options
def show(*, revision: str, db: Path | None, what: What | None, form: Form, pager: bool) -> None:
    """Show one event, or what the session was after it.

    REVISION is a session or a version of it. --request rebuilds a request from the log; stderr
    says whether it is proven to be what was sent, and the exit status is 1 if it is not.

    \b
    Examples:
      agent show trip@12
      agent show trip~1 --state
    """  # noqa: D301 - click's mark for lines that stay as they are
    with reading_log(db) as log:
        place = resolve(log, revision)
        match what:
            case "state":
                _show_state(log, place, form, pager=pager)
            case "request":
                _show_request(log, place, form)
            case "raw":
                _show_raw(_fact(log, place))
            case _:
                _show_event(_fact(log, place), place, form, pager=pager)


def _fact(log: SQLiteLog, place: Place) -> Recorded:
    found = list(log.read(place.session, after=place.version - 1, until=place.version))
    if place.version < 1 or not found:
        raise exits.NotFound(f"{place} is no event")
    return found[0]


def _show_event(fact: Recorded, place: Place, form: Form, *, pager: bool) -> None:
    facts = Facts(place.session)
    if form == "text":
        write_lines(_event_lines(facts, fact, place), pager=pager)
    else:
        write_document("agent.show/1", facts.fields(fact, whole=True))
    facts.check()


def _event_lines(facts: Facts, fact: Recorded, place: Place) -> Iterator[str]:
    yield f"{click.style(one_line(fact.type), 'cyan')}  {one_line(str(place))}"
    yield f"recorded  {local_time(time_of(fact))}"
    yield f"hash      {fact.hash.hex()}"
    if fact.stream != place.session:
        yield f"from      {one_line(fact.stream)}"
    if fact.erased:
        yield "erased    what was said is gone; this is left of it"
    yield ""
    yield from facts.contents(fact)


def _show_raw(fact: Recorded) -> None:
    _write_exactly(fact.payload)


def _show_state(log: SQLiteLog, place: Place, form: Form, *, pager: bool) -> None:
    from agent.engine.view import View  # noqa: PLC0415 - slow to import
    from agent.projections.shown import shown_at  # noqa: PLC0415
    from agent.tools.states import STATE, state_document, state_lines  # noqa: PLC0415

    view = View(shown_at(log, place.session, place.version))
    if form == "text":
        write_lines(state_lines(view), pager=pager)
    else:
        write_document(STATE, state_document(place, view))


def _show_request(log: SQLiteLog, place: Place, form: Form) -> None:
    fact = next(backwards(log, place.session, place.version, "model.requested"), None)
    if fact is None:
        raise exits.NotFound(f"no model was asked up to {place}")
    past = _rebuilt(log, Place(place.session, fact.version), fact)
    asked = past.recorded
    if form == "text":
        _write_exactly(past.body)
        click.echo(one_line(f"{place.session}@{past.version}: {_proof(past)}"), err=True)
    else:
        document = {
            "session": place.session,
            "version": past.version,
            "proven": past.proven,
            "erased": past.erased,
            "digest": past.digest,
            "recorded_digest": asked.digest,
            "provider": asked.provider,
            "api": asked.api,
            "model": asked.model,
            "body": past.body.decode(errors="replace"),
        }
        write_document("agent.request/1", document)
    if not past.proven:
        sys.exit(exits.DIFFERENT)


def _rebuilt(log: SQLiteLog, place: Place, fact: Recorded) -> PastRequest:
    from agent.engine.past_requests import past_request  # noqa: PLC0415 - slow to import
    from agent.engine.scripted import ScriptedModel  # noqa: PLC0415
    from agent.eventstore.events import ModelRequested  # noqa: PLC0415
    from agent.projections.session import SessionState  # noqa: PLC0415
    from agent.projections.shown import conversation_at  # noqa: PLC0415

    asked = fact.event
    if not isinstance(asked, ModelRequested):
        raise exits.NotFound(f"{place} asks no model")
    before = SessionState(conversation=conversation_at(log, place.session, place.version - 1))
    found = past_request(place.version, asked, before, ScriptedModel([]), log.get_blob)
    erased = not found.proven and log.survey(place.session, until=place.version).erased > 0
    return msgspec.structs.replace(found, erased=erased)


def _proof(past: PastRequest) -> str:
    if past.proven:
        return f"proven: what was sent to {past.recorded.model}, sha256 {past.digest}"
    if past.erased:
        return f"NOT proven: texts before it were erased; sha256 {past.recorded.digest} was sent"
    return (
        f"NOT proven: sha256 {past.digest} by {past.encoder}, "
        f"but {past.recorded.digest} by {past.recorded.encoder} was recorded"
    )


def _write_exactly(data: bytes) -> None:
    """Write bytes as they are, but for what a terminal would obey."""
    if sys.stdout.isatty():
        click.echo(visible(data.decode(errors="replace")))
    else:
        click.echo(data)
