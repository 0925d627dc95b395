import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.engine.agent import Agent
from agent.engine.scripted import Reply, ScriptedModel
from agent.engine.stores import MemoryStore
from agent.tools.exits import NotFound
from agent.tools.revisions import Place, Revision, Span, parse, resolve, resolve_span

IDS = st.text(st.sampled_from("ab@~.1-é"), min_size=1, max_size=8)


def _store(*names: str, turns: int = 1) -> MemoryStore:
    """A store with sessions of so many turns, four events each after the first."""
    store = MemoryStore()
    for name in names:
        session = Agent(ScriptedModel([Reply(text="Yes.")] * turns), store=store).session(name)
        for _ in range(turns):
            session.run("Hello")
    return store


@given(
    st.text(st.characters(exclude_characters="@~"), min_size=1),
    st.none() | st.integers(0, 10**17),
    st.integers(0, 10**8),
)
def test_what_is_written_is_read(session: str, version: int | None, turns: int):
    """Session, version and turns come back from the text that names them."""
    text = session + (f"@{version}" if version is not None else "") + (f"~{turns}" if turns else "")

    assert parse(text) == Revision(session, version, turns)


@given(st.sets(IDS, min_size=1, max_size=5))
def test_an_id_that_is_written_out_is_found(names: set[str]):
    """Whatever characters an id has, it names its session, also in a range."""
    log = _store(*names).log

    for name in names:
        assert resolve(log, name) == Place(name, 5)
        assert resolve_span(log, name) == Span(name, 0, 5)


@given(st.sets(st.text(st.sampled_from("abc"), min_size=1, max_size=5), min_size=1, max_size=6))
def test_a_unique_beginning_is_enough(names: set[str]):
    """A beginning names the one session that has it, and none where several do."""
    log = _store(*names).log

    for name in names:
        for end in range(1, len(name)):
            start = name[:end]
            found = [one for one in names if one.startswith(start)]
            if start in names or len(found) == 1:
                assert resolve(log, f"{start}@2") == Place(start if start in names else name, 2)
            else:
                with pytest.raises(NotFound) as raised:
                    resolve(log, start)
                assert raised.value.message == f"{start!r} could be {', '.join(sorted(found))}"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("trip", Place("trip", 13)),
        ("@", Place("trip", 13)),
        ("@@5", Place("trip", 5)),
        ("t@0", Place("trip", 0)),
        ("trip~", Place("trip", 9)),
        ("trip~1", Place("trip", 9)),
        ("@~3", Place("trip", 1)),
        ("trip@9~2", Place("trip", 1)),
        ("trip~0", Place("trip", 13)),
    ],
)
def test_a_revision(text: str, place: Place):
    """A version is so many events, and a turn back ends right before the turn."""
    assert resolve(_store("trip", turns=3).log, text) == place


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("trip", Span("trip", 0, 13)),
        ("trip@4..9", Span("trip", 4, 9)),
        ("trip@4..@9", Span("trip", 4, 9)),
        ("trip@4..trip@9", Span("trip", 4, 9)),
        ("trip~1..", Span("trip", 9, 13)),
        ("..trip@4", Span("trip", 0, 4)),
        ("trip@9..4", Span("trip", 9, 4)),
    ],
)
def test_a_range(text: str, span: Span):
    """A range begins after its first version."""
    assert resolve_span(_store("trip", turns=3).log, text) == span


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'' names no session"),
        ("trop", "there is no session 'trop'; did you mean trip?"),
        ("\udcff", "there is no session '\\udcff'; there are main, trip"),
        ("xyz", "there is no session 'xyz'; there are main, trip"),
        ("trip@6", "session trip has versions 1 to 5, not 6"),
        ("trip~2", "trip@5 has 1 turns, and none 2 back"),
        ("trip..main", "trip@5 and main@5 are of two sessions; agent diff compares them"),
    ],
)
def test_what_is_not_there(text: str, words: str):
    """The error says what there is."""
    with pytest.raises(NotFound) as raised:
        resolve_span(_store("trip", "main").log, text)

    assert (raised.value.message, raised.value.exit_code) == (words, 4)


def test_an_empty_log_has_no_sessions():
    """Nothing is there to be named, not even the last."""
    with pytest.raises(NotFound, match=r"^the log has no sessions$"):
        resolve(MemoryStore().log, "@")
