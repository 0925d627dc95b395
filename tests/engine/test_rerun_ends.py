"""How a rerun ends when its turn does not: the error is its result, and the fork is whole."""

import asyncio
import threading
from typing import Any

import pytest

from agent import Agent, Session
from agent.engine.errors import (
    MissingAPIKey,
    NotSaved,
    OutputError,
    ProviderTimeout,
    ServerFailed,
)
from agent.engine.provider import Frame, Prompt
from agent.engine.rerun import Rerun
from agent.engine.scripted import Reply, ScriptedModel
from agent.errors import ConflictError
from agent.eventstore.core import verified
from agent.stores import LogStore, SessionStore
from tests.engine.given import agent_of, kinds
from tests.engine.reruns import BERN, OSLO, ROME, SAME, Town, known, own, told, untouched
from tests.engine.stores import DictStore


def intact(rerun: Rerun) -> None:
    """The fork is verifiable, as a whole and wherever it is taken."""
    facts = list(rerun.session.events())
    assert list(verified(facts, stream=rerun.session.session_id)) == facts
    copy = Session.from_dict(rerun.session.to_dict(), agent_of())
    assert [fact.hash for fact in copy.events()] == [fact.hash for fact in facts]


def test_a_provider_that_is_down():
    """The turn failed in the fork, and can be resumed there."""
    session = known([OSLO, ROME], ServerFailed("down"), BERN, "Mixed.", max_retries=0)
    facts = list(session.events())
    rerun = session.rerun()
    assert isinstance(rerun.error, ServerFailed)
    assert (rerun.response, rerun.served) == (None, (13, 14))
    assert own(rerun)[-2:] == ["model.failed", "turn.failed"]
    intact(rerun)
    untouched(session, facts)
    assert rerun.session.resume().text == "Mixed."


def test_retries():
    """A failed call is made again, as in every turn."""
    rerun = known(
        [OSLO, ROME], ServerFailed("down", retryable=True, retry_after=0), BERN, "Mixed."
    ).rerun()
    assert (rerun.error, rerun.departure) == (None, None)
    assert own(rerun).count("model.requested") == 4
    intact(rerun)


def test_a_deadline():
    """Passes in a rerun too."""
    rerun = known(Reply(hangs=True), deadline=0.05, sources=None).rerun()
    assert isinstance(rerun.error, ProviderTimeout)
    assert own(rerun)[-1] == "turn.failed"
    intact(rerun)


def test_output_that_does_not_fit():
    """What was said is kept in the fork."""
    rerun = known("x", "y", "z").rerun(schema=int)
    assert isinstance(rerun.error, OutputError)
    assert own(rerun).count("output.rejected") == 2
    intact(rerun)


def test_interrupted():
    """Ctrl-C goes through; the fork's turn is abandoned, and can be resumed."""

    def answer(_: object) -> str:
        if not asked:
            asked.append(True)
            raise KeyboardInterrupt
        return "So."

    asked: list[bool] = []
    agent = Agent(ScriptedModel(answer), "m", store=known()._agent.store, tools=Town().tools)
    with pytest.raises(KeyboardInterrupt):
        agent.session("s").rerun(session_id="fork")
    fork = agent.session("fork")
    assert kinds(fork)[-2:] == ["model.failed", "turn.abandoned"]
    assert fork.resume().text == "So."


def test_no_key(monkeypatch: pytest.MonkeyPatch):
    """The fork is made, its turn has failed."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    store = known()._agent.store
    rerun = Agent("openai", "gpt-4o", store=store, tools=Town().tools).session("s").rerun()
    assert isinstance(rerun.error, MissingAPIKey)
    assert rerun.response is None
    intact(rerun)


def test_an_error_that_is_none_of_ours():
    """Goes to the caller, as from every turn; the fork has its end."""
    session = known(ValueError("odd"), ValueError("odd"))
    with pytest.raises(ValueError, match="odd"):
        session.rerun(session_id="fork")
    with pytest.raises(ValueError, match="odd"):
        session.run("Weather?")
    fork = session._agent.session("fork")
    assert kinds(fork)[8:] == kinds(session)[21:]


# The fork's id


def test_an_id_that_is_taken(store: SessionStore):
    """Nothing is written, in any store."""
    agent = agent_of("a", "b", "c", store=store)
    session = agent.session("s")
    session.run("Hi")
    agent.session("other").run("Hi")
    listed = store.list_sessions()
    before = [store.load(key) for key in listed]
    for taken in ("other", "s"):
        with pytest.raises(ConflictError) as caught:
            session.rerun(session_id=taken)
        assert "Choose another session_id." in str(caught.value)
    assert [store.load(key) for key in store.list_sessions()] == before
    assert store.list_sessions() == listed


def test_in_every_store(store: SessionStore):
    """The fork is kept beside the original, and opened by its id."""
    town = Town()
    agent = agent_of(*SAME, *SAME, "Bye", store=store, tools=town.tools)
    agent.session("s", system="Be brief.").run("Weather?")
    asked = len(town.asked)
    rerun = agent.session("s").rerun(session_id="fork")
    assert (rerun.error, rerun.departure, len(town.asked)) == (None, None, asked)
    assert store.list_sessions() == ["fork", "s"]
    opened = agent.session("fork")
    assert [fact.hash for fact in opened.events()] == [f.hash for f in rerun.session.events()]
    assert opened.run("Thanks").text == "Bye"


def test_a_store_that_does_not_keep_it():
    """Its error is the result, as it is raised by any turn; the log has it all."""

    class Full(DictStore):
        full = False

        def save(self, session_id: str, data: dict[str, Any]) -> None:
            if self.full and "turn.completed" in str(data)[-2000:] and session_id == "fork":
                raise OSError("full")
            super().save(session_id, data)

    store = Full()
    session = agent_of("a", "b", store=store).session("s")
    session.run("Hi")
    store.full = True
    rerun = session.rerun(session_id="fork")
    assert isinstance(rerun.error, NotSaved)
    intact(rerun)


def test_two_at_once(log_store: LogStore):
    """Each in its own fork."""
    agent = Agent(ScriptedModel(lambda _: "a"), "m", store=log_store)
    session = agent.session("s")
    session.run("Hi")
    made: list[Rerun] = []
    threads = [threading.Thread(target=lambda: made.append(session.rerun())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [rerun.error for rerun in made] == [None] * 4
    assert len({rerun.session.session_id for rerun in made}) == 4
    assert len(log_store.list_sessions()) == 5


def test_while_the_session_is_busy():
    """The original may be in the middle of a turn of its own."""
    session = known("One", "Two")
    with session.stream("Go on") as stream:
        next(stream)
        rerun = session.rerun(7, model="other")
        assert rerun.error is None
    assert rerun.plan.turn == 8


# Async


def test_async_in_a_store_that_takes_its_time():
    """Reading and writing wait elsewhere."""
    seen: set[str] = set()
    main = threading.current_thread().name

    class Watched(DictStore):
        def save(self, session_id: str, data: dict[str, Any]) -> None:
            seen.add(threading.current_thread().name)
            super().save(session_id, data)

        def load(self, session_id: str) -> dict[str, Any] | None:
            seen.add(threading.current_thread().name)
            return super().load(session_id)

    session = agent_of("a", "b", store=Watched()).session("s")
    session.run("Hi")
    assert seen == {main}
    seen.clear()
    rerun = asyncio.run(session.rerun_async())
    assert rerun.error is None
    assert seen
    assert main not in seen


def test_async_without_a_disk():
    """What goes through all of a session's events is done in a thread there too."""
    seen: list[bool] = []

    class Watched(ScriptedModel):
        def encode_frame(self, prompt: Prompt) -> Frame:
            seen.append(threading.current_thread() is threading.main_thread())
            return super().encode_frame(prompt)

    session = Agent(Watched(["a", "b"]), "m").session()
    session.run("Hi")
    seen.clear()
    assert asyncio.run(session.rerun_async()).error is None
    assert seen.count(True) == 2  # the request that is asked: its attachments, then all of it
    assert seen.count(False) > 1


@pytest.mark.parametrize(
    "options", [{}, {"model": "other"}, {"edit": {8: "?"}}, {"tool_results": "live"}]
)
def test_async_does_the_same(options: Any):
    """Event by event."""
    one = known(*SAME).rerun(**options)
    other = asyncio.run(known(*SAME).rerun_async(**options))
    assert own(one) == own(other)
    assert (one.plan, one.served, told(one)) == (other.plan, other.served, told(other))
    assert str(one.departure) == str(other.departure)


def test_an_async_task_that_is_cancelled():
    """The fork's turn is abandoned, the original as it was."""
    session = known(Reply(hangs=True))
    facts = list(session.events())

    async def main() -> None:
        task = asyncio.create_task(session.rerun_async(session_id="fork"))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    fork = session._agent.session("fork")
    assert kinds(fork)[-2:] == ["model.failed", "turn.abandoned"]
    untouched(session, facts)


def test_async_takes_no_dry_run():
    """The plan costs nothing: it is asked of the sync form."""
    with pytest.raises(TypeError, match="dry_run"):
        asyncio.run(known().rerun_async(dry_run=True))  # pyright: ignore[reportCallIssue]
