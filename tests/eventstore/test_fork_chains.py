from agent.eventstore.conformance.facts import deleted, forked, started
from agent.eventstore.log import EventLog

LONG = 1500


def test_a_long_chain_of_forks_is_purged_to_its_beginning(log: EventLog):
    """Deleting the last of many forks, each of which outlived its parent, purges them all."""
    head = log.append("0", [started("0")], expected=None)
    for n in range(1, LONG):
        parent, child = str(n - 1), str(n)
        fork = forked(child, parent, head)
        head = log.fork(parent, child, at=head.version, prepared=fork)
        assert log.delete(parent, deleted())

    last = str(LONG - 1)
    assert [info.stream for info in log.streams()] == [last]
    assert [fact.version for fact in log.read(last)] == list(range(1, LONG + 1))
    assert log.delete(last, deleted())

    assert list(log.streams()) == []
    assert [fact.type for fact in log.read_all()] == ["session.deleted"] * LONG
