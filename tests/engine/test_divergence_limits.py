"""A limit, a policy or a shape is changed: where a replay says so, what it says, and why."""

from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel, field_validator

from agent import CompactionPolicy, Tool
from agent.engine.scripted import Call, Reply
from agent.eventstore.events import TurnFailed, TurnStarted
from agent.eventstore.values import Usage
from agent.replay import Change
from tests.engine.crashes import BAD, GOOD, Tea
from tests.engine.diverging import (
    ASKED,
    UNSET,
    diverged,
    lived,
    look,
    same,
    search,
    session,
    shaped,
    today,
    told,
    types,
)
from tests.engine.given import agent_of
from tests.engine.lives import DOWN

__all__ = ["session"]


# Limits


def test_fewer_steps() -> None:
    """The turn would have failed before its second."""
    found = diverged(lived(ASKED, "Here"), today(max_steps=1))
    assert told(found) == (8, "missing", ("limits",), ())
    assert isinstance(found.today, TurnFailed)
    assert found.today.error.code == "max_steps"


def test_more_steps() -> None:
    """The turn would have gone on."""
    found = diverged(lived(ASKED, "Here", max_steps=1), today())
    assert told(found) == (8, "extra", ("limits",), ())
    assert types(found) == ("turn.failed", "model.requested")


SPENT = Reply(calls=(ASKED,), usage=Usage(5, 5))


def test_fewer_tokens() -> None:
    """Those of the first step would have been too many."""
    found = diverged(lived(SPENT, "Here"), today(max_tokens_per_turn=9))
    assert told(found) == (8, "missing", ("limits",), ())
    assert isinstance(found.today, TurnFailed)
    assert found.today.error.code == "max_tokens_per_turn"


def test_more_tokens() -> None:
    """Those of the first step were too many."""
    found = diverged(lived(SPENT, "Here", max_tokens_per_turn=9), today(max_tokens_per_turn=10))
    assert told(found) == (8, "extra", ("limits",), ())
    assert types(found) == ("turn.failed", "model.requested")


def test_fewer_retries() -> None:
    """The turn would have failed by what it was tried again for."""
    found = diverged(lived(DOWN, DOWN, "Here"), today(max_retries=1))
    assert told(found) == (8, "missing", ("limits",), ())
    assert types(found) == ("model.requested", "turn.failed")


@pytest.mark.parametrize("schemas", [[], [Tea]])
def test_fewer_output_retries(schemas: list[Any]) -> None:
    """The answer that did not fit would have been the last."""
    found = diverged(shaped(BAD, GOOD), agent_of(max_output_retries=0), schemas=schemas)
    assert told(found) == (5, "missing", ("limits",), ())
    assert types(found) == ("output.rejected", "turn.failed")


def test_more_output_retries() -> None:
    """Whether it would fit is known only of a shape of today."""
    session = shaped(BAD, max_output_retries=0)
    found = diverged(session, agent_of(), schemas=[Tea])
    assert told(found) == (5, "extra", ("limits",), ())
    assert types(found) == ("turn.failed", "output.rejected")
    assert same(session, agent_of())


# Policies


def test_a_stricter_approval_policy() -> None:
    """A person would have been asked."""
    found = diverged(lived(ASKED, "Here"), today(requires_approval=True))
    assert told(found) == (6, "extra", ("approval policy",), ())
    assert types(found) == ("tool.called", "approval.requested")


def test_a_stricter_policy_for_one_of_two() -> None:
    """The other had to be approved already."""
    tools = [search, Tool(look, requires_approval=True)]
    session = lived([ASKED, Call("look", {"place": "x"})], tools=tools)
    assert session.pending_approvals
    found = diverged(session, today(tools=tools, requires_approval=True))
    assert told(found) == (6, "extra", ("approval policy",), ())
    assert types(found) == ("tool.called", "approval.requested")


def test_stricter_arguments() -> None:
    """A tool that a person decides about has its arguments validated before."""

    def refuse(query: str) -> str:
        raise ValueError(query)

    def strict(query: Annotated[str, AfterValidator(refuse)]) -> str:
        """Search the web."""
        return query

    session = lived(ASKED, requires_approval=True)
    found = diverged(session, today(tools=[Tool(strict, name="search")], requires_approval=True))
    assert told(found) == (6, "missing", ("tool definition",), ())
    assert types(found) == ("approval.requested", "tool.returned")


@pytest.mark.parametrize("decided", [False, True])
def test_a_laxer_approval_policy(decided: bool) -> None:
    """Nobody would have been asked, whatever was decided since."""
    session = lived(ASKED, "Here", requires_approval=True)
    if decided:
        session.approve("call_5_0")
        session.resume()
    assert same(session, today(requires_approval=True))
    found = diverged(session, today())
    assert told(found) == (6, "missing", ("approval policy",), ())
    assert types(found) == ("approval.requested", "tool.called")


def test_a_policy_for_some_arguments() -> None:
    """It is asked about each call as it was."""
    session = lived(ASKED, "Here")
    assert same(session, today(requires_approval=lambda call: call.values["query"] == "x"))
    asks = today(requires_approval=lambda call: call.values["query"] == "it")
    assert told(diverged(session, asks))[:3] == (6, "extra", ("approval policy",))


def test_a_window() -> None:
    """A turn says which part of the history its requests hold."""
    wide, narrow = (lived(*"abc", prompts="123", window=w, tools=[]) for w in (None, 2))
    at, kind, causes = 10, "settings", ("window",)
    excerpt = Change("/excerpt", UNSET, {"start": 2})
    assert told(diverged(wide, agent_of(window=2))) == (at, kind, causes, (excerpt,))
    excerpt = Change("/excerpt", {"start": 2}, UNSET)
    assert told(diverged(narrow, agent_of())) == (at, kind, causes, (excerpt,))


def test_a_compaction_policy() -> None:
    """The history would have been compacted before the turn for which it was long enough."""
    session = lived(*"abcd", prompts="1234", tools=[])
    found = diverged(session, agent_of(compact_at=CompactionPolicy(messages=6, keep_last=2)))
    assert told(found) == (14, "extra", ("compaction policy",), ())
    assert types(found) == ("turn.started", "turn.started")
    assert isinstance(found.today, TurnStarted)
    assert found.today.kind == "compaction"
    assert same(session, agent_of(compact_at=CompactionPolicy(messages=9, keep_last=2)))


# Structured output


class Year(BaseModel):
    """A tea."""

    name: str
    year: int = 0


class Fussy(Tea):
    """A tea."""

    @field_validator("name")
    @classmethod
    def refuse(cls, name: str) -> str:
        """Refuse."""
        raise ValueError(name)


class Rude(Tea):
    """A tea."""

    @field_validator("name", mode="before")
    @classmethod
    def refuse(cls, name: Any) -> Any:
        """Refuse."""
        if isinstance(name, str):
            return name
        raise ValueError("no")


for shape in (Year, Fussy, Rude):
    shape.__name__ = "Tea"


def test_a_schema() -> None:
    """It is told where the turn begins."""
    found = diverged(shaped(GOOD), agent_of(), schemas=[Year])
    added = {"default": 0, "title": "Year", "type": "integer"}
    change = Change("/output/schema/properties/year", UNSET, added)
    assert told(found) == (2, "schema", ("output schema",), (change,))


def test_a_validator() -> None:
    """What has fitted would be rejected."""
    found = diverged(shaped(GOOD), agent_of(), schemas=[Fussy])
    assert told(found) == (5, "extra", ("output schema",), ())
    assert types(found) == ("turn.completed", "output.rejected")


def test_other_words_of_a_validator() -> None:
    """The model would be told something else."""
    found = diverged(shaped('{"name":3}', GOOD), agent_of(), schemas=[Rude])
    assert (found.version, found.kind, found.causes) == (5, "schema", ("output schema",))
    assert found.changes[0] == Change(
        "/errors/0", "name: Input should be a valid string", "name: Value error, no"
    )


def test_a_schema_that_is_not_given() -> None:
    """Its turns are taken as they were, with their verdicts."""
    session = shaped(BAD, GOOD)
    assert same(session, agent_of())
    assert same(session, agent_of(), schemas=[int])
