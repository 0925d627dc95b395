from pathlib import Path

from agent.engine.agent import Agent
from agent.engine.listing import listed
from agent.engine.scripted import ScriptedModel
from agent.engine.stores import SQLiteStore
from agent.eventstore.backends.failing import FailingLog
from agent.eventstore.log import Surveyed


def test_with_and_without_a_survey(tmp_path: Path):
    """A log that cannot be surveyed is listed in the same way, stream by stream."""
    with SQLiteStore(tmp_path / "log.db", durability="os") as store:
        agent = Agent(ScriptedModel(lambda _: "Yes."), store=store)
        session = agent.session("trip", metadata={"title": "A trip"})
        session.run("Well?")
        session.fork("child").fork("nested").run("Really?")
        session.fork("orphan")
        store.delete("trip")
        slow = FailingLog(store.log)
        found = list(listed(store.log))

        assert not isinstance(slow, Surveyed)
        assert found == list(listed(slow))
        assert [(one.key, one.parent, one.forked_at, one.title) for one in found] == [
            ("child", "trip", 5, "A trip"),
            ("nested", "child", 6, "A trip"),
            ("orphan", "trip", 5, "A trip"),
        ]
