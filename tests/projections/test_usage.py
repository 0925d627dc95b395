from msgspec.structs import replace

from agent.eventstore.events import Event, ModelFailed, SessionForked, TurnAbandoned, TurnFailed
from agent.eventstore.values import Failure, Usage
from agent.projections import usage
from agent.projections.fold import rebuild
from agent.projections.usage import ModelUsage, SessionUsage, model_calls
from tests.projections.given import STARTED, begun, recorded, requested, responded

ONE = Usage(1, 2, 3, 4, 5)
TEN = Usage(10, 20, 30, 40, 50)
FORKED = SessionForked(session_id="c", parent="s", at=1, parent_hash="")
FAILURE = Failure("E", "no")


def spent(*events: Event) -> SessionUsage:
    """What these events cost."""
    return rebuild(usage.evolve, recorded(STARTED, *events), SessionUsage())


def test_nothing_is_spent_at_first():
    """A new session has spent nothing."""
    assert spent(begun(), requested()) == SessionUsage(Usage(), Usage())


def test_answers_are_summed():
    """Every answer counts, field by field."""
    assert spent(responded(usage=ONE), responded(usage=TEN)) == SessionUsage(
        Usage(11, 22, 33, 44, 55)
    )


def test_failed_calls_count():
    """A failed call counts when the provider told its usage."""
    told = ModelFailed(error=FAILURE, usage=ONE, elapsed=0.0)
    untold = ModelFailed(error=FAILURE, elapsed=0.0)

    assert spent(told, untold) == SessionUsage(ONE)


def test_failed_turns_count():
    """What a turn spent counts, whatever became of it."""
    failed = TurnFailed(error=FAILURE)
    abandoned = TurnAbandoned(reason="gone")

    assert spent(responded(usage=ONE), failed, responded(usage=TEN), abandoned).own == ONE + TEN


def test_forks_inherit():
    """A fork's own usage begins at zero; all before it is inherited."""
    found = spent(responded(usage=ONE), FORKED, responded(usage=TEN))

    assert found == SessionUsage(own=TEN, inherited=ONE)
    assert found.total == Usage(11, 22, 33, 44, 55)


def test_nested_forks_count_once():
    """Over nested forks the sum of all own usages is the total of the last."""
    first = spent(responded(usage=ONE))
    second = spent(responded(usage=ONE), FORKED, responded(usage=TEN))
    third = spent(responded(usage=ONE), FORKED, responded(usage=TEN), FORKED, responded(usage=ONE))

    assert third == SessionUsage(own=ONE, inherited=ONE + TEN)
    assert first.own + second.own + third.own == third.total


def test_total_tokens():
    """The total of a usage is its input and output; the parts lie inside of these."""
    assert (ONE.total_tokens, Usage().total_tokens) == (3, 0)


def test_each_call_is_told_with_who_was_asked():
    """Each call that told its usage, under the model that answered, else the one asked."""
    told = ModelFailed(error=FAILURE, usage=ONE, elapsed=0.0)
    untold = ModelFailed(error=FAILURE, elapsed=0.0)
    asked = requested()
    answered = replace(responded(usage=TEN), model="m-1")
    facts = recorded(STARTED, begun(), asked, told, asked, untold, asked, answered)

    who = asked.provider, asked.model
    assert list(model_calls(facts)) == [ModelUsage(*who, ONE), ModelUsage(who[0], "m-1", TEN)]
