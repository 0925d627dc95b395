"""``agent show``: one event, and what there was after it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from agent.tools import exits
from agent.tools.facts import Facts, time_of
from agent.tools.output import Form, local_time, output_options, write_document, write_lines
from agent.tools.revisions import Place, backwards, resolve
from agent.tools.source import db_option, reading
from agent.tools.terminal import one_line, visible

if TYPE_CHECKING:
    from agent.engine.past_requests import PastRequest
    from agent.eventstore.log import EventLog
    from agent.eventstore.record import Recorded

What = Literal["event", "state", "request", "raw"]


@click.command()
@click.argument("revision", default="@")
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
    with reading(db) as store:
        place = resolve(store.log, revision)
        match what:
            case "state":
                _show_state(store.log, place, form, pager=pager)
            case "request":
                _show_request(store.log, place, form)
            case "raw":
                _show_raw(_fact(store.log, place))
            case _:
                _show_event(_fact(store.log, place), place, form, pager=pager)


def _fact(log: EventLog, place: Place) -> Recorded:
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


def _show_state(log: EventLog, place: Place, form: Form, *, pager: bool) -> None:
    from agent.tools.states import state_fields, state_lines, view_at  # noqa: PLC0415 - slow

    view = view_at(log, place)
    if form == "text":
        write_lines(state_lines(view), pager=pager)
    else:
        fields = {"session": place.session, "version": place.version, **state_fields(view)}
        write_document("agent.state/1", fields)


def _show_request(log: EventLog, place: Place, form: Form) -> None:
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


def _rebuilt(log: EventLog, place: Place, fact: Recorded) -> PastRequest:
    from agent.engine.past_requests import judged, past_request  # noqa: PLC0415 - slow to import
    from agent.engine.past_states import PastStates  # noqa: PLC0415
    from agent.engine.scripted import ScriptedModel  # noqa: PLC0415
    from agent.eventstore.events import ModelRequested  # noqa: PLC0415

    asked = fact.event
    if not isinstance(asked, ModelRequested):
        raise exits.NotFound(f"{place} asks no model")
    before = PastStates(log, place.session).at(place.version - 1)
    found = past_request(place.version, asked, before, ScriptedModel([]), log.get_blob)
    return judged(found, log.read(place.session, until=place.version))


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
