"""Images and files in a turn that is taken again: they go along, wherever they come from."""

from typing import Any

import pytest

from agent import ImagePart, Message, Session
from agent.engine.rerun import Rerun
from agent.eventstore.messages import TextPart
from agent.stores import SessionStore
from agent.testing import Call
from tests.engine.given import agent_of
from tests.engine.reruns import asked

OLD, NEW = ImagePart.from_bytes(b"\x89PNG old"), ImagePart.from_bytes(b"\x89PNG new")


def look(at: str) -> list[Any]:
    """Look at something."""
    return [TextPart(at), OLD]


def shots(session: Session) -> list[bytes]:
    """Every image of the history."""
    parts = [part for message in session.messages for part in message.parts]
    parts += [part for m in session.messages for one in m.tool_results for part in one.content]
    return [session.attachment(part) for part in parts if isinstance(part, ImagePart)]


def seen(*script: Any, store: SessionStore) -> Session:
    """A session with an image in a prompt (version 3) and one in a tool's result."""
    call = Call("look", {"at": "x"})
    agent = agent_of("Nice", call, "Seen", *script, store=store, tools=[look])
    session = agent.session("s")
    session.run([TextPart("This?"), OLD])
    session.run("And that?")
    return session


def whole(rerun: Rerun) -> None:
    """It has all of its images, also in a copy elsewhere."""
    assert rerun.error is None
    assert asked(rerun) != []
    copy = Session.from_dict(rerun.session.to_dict(), agent_of())
    assert shots(copy) == shots(rerun.session)


def test_served(store: SessionStore):
    """A recorded image is served as it was."""
    session = seen(Call("look", {"at": "x"}), "Seen", store=store)
    rerun = session.rerun()
    assert rerun.departure is None
    assert shots(rerun.session) == [b"\x89PNG old"] * 2
    whole(rerun)


@pytest.mark.parametrize(
    ("version", "content", "at", "images"),
    [
        (11, [TextPart("x"), NEW], None, [b"\x89PNG old", b"\x89PNG new"]),
        (7, [TextPart("Here:"), NEW], None, [b"\x89PNG old", b"\x89PNG new"]),
        (3, [TextPart("This?"), NEW], 6, [b"\x89PNG new"]),
        (5, Message.assistant("So:", NEW), 6, [b"\x89PNG old", b"\x89PNG new"]),
    ],
)
def test_edited(
    version: int, content: Any, at: int | None, images: list[bytes], store: SessionStore
):
    """A new one is kept in the fork."""
    session = seen("Seen", "Seen", store=store)
    rerun = session.rerun(at, edit={version: content})
    whole(rerun)
    assert shots(rerun.session) == images
