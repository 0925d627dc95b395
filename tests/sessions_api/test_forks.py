from agent import Agent
from tests.fakes import ChatServer
from tests.sessions_api.given import FACTS, sent, shown, told


def test_both_sides_diverge(agent: Agent) -> None:
    """Each knows the common past and its own future."""
    session = agent.session()
    session.run("I want to visit Tokyo and Kyoto")
    fork = session.fork(session_id="alternative-plan")
    fork.run("Actually, let's focus on Osaka instead")
    session.run("Add Nara")
    assert fork.session_id == "alternative-plan"
    question = "What cities are we visiting?"
    assert session.run(question).text == "The cities are: Tokyo, Kyoto, Nara."
    assert fork.run(question).text == "The cities are: Osaka."
    assert shown(fork)[:2] == shown(session)[:2]


def test_at_a_version(agent: Agent) -> None:
    """A fork at an earlier version knows nothing later."""
    session = agent.session(system="Be brief.")
    session.run("I want to visit Tokyo")
    before = session.version
    session.run("Add Nara")
    fork = session.fork(at=before)
    assert fork.run("What cities are we visiting?").text == "The cities are: Tokyo."
    assert len(session.messages) == 4


def test_of_a_fork_and_of_an_empty_session(agent: Agent) -> None:
    """Any session can be forked, and forks have their own ids."""
    root = agent.session(system="Be brief.")
    child = root.fork()
    child.run("I want to visit Tokyo")
    grandchild = child.fork()
    assert len({one.session_id for one in (root, child, grandchild)}) == 3
    assert shown(grandchild) == shown(child)
    assert root.messages == []


def test_outlives_what_its_parent_does(agent: Agent, openai_env: ChatServer) -> None:
    """Clearing the parent leaves the fork alone, and the other way round."""
    session = told(agent.session(system="Be brief."))
    fork = session.fork()
    session.clear()
    assert fork.run("What do you know about me?").text.startswith(FACTS)
    assert sent(openai_env)[0] == ("system", "Be brief.")
    fork.clear()
    assert session.messages == []
