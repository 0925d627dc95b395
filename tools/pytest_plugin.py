"""Recorded sessions as tests, for pytest.

::

    def test_refund(check_recording):
        check_recording("recordings/refund.json", agent)

The recording is what ``session.to_dict()`` gave, in a file beside the test. It is replayed by the
agent of today, offline, and the test fails where something would be different.
``pytest --update-recordings`` writes such files anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Protocol, Unpack, cast

import pytest

if TYPE_CHECKING:
    from agent.engine.agent import Agent
    from agent.engine.edits import ReplayOptions
    from agent.engine.replay import Replay
    from agent.engine.replays import Source
    from agent.engine.session import Session

    Recording = str | os.PathLike[str] | Source


class CheckRecording(Protocol):
    """Replays a recording, and fails the test where something would be different today."""

    def __call__(
        self,
        recording: Recording,
        agent: Agent | None = None,
        *,
        session_id: str | None = None,
        **options: Unpack[ReplayOptions],
    ) -> Replay:
        """Check a recording: a file, a session, or what ``to_dict`` gave.

        A file is an export in JSON, or a log of SQLite in which ``session_id`` is looked for; its
        path is relative to the test's own folder. The options are those of ``session.replay``.
        """
        ...


_WRITTEN = "recording written anew"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take ``--update-recordings``."""
    parser.getgroup("recordings", "recorded sessions").addoption(
        "--update-recordings",
        action="store_true",
        help="write recordings anew that would be different today, with the same answers",
    )


@pytest.fixture
def check_recording(request: pytest.FixtureRequest) -> CheckRecording:
    """Replay a recorded session by the agent of today, and fail where it would be different."""
    config, folder = request.config, request.path.parent

    def check(
        recording: Recording,
        agent: Agent | None = None,
        *,
        session_id: str | None = None,
        **options: Unpack[ReplayOptions],
    ) -> Replay:
        from agent.engine.replays import replay  # noqa: PLC0415 - pytest loads this for every run
        from agent.eventstore.errors import InvalidExport  # noqa: PLC0415

        path: Path | None = None
        if isinstance(recording, str | os.PathLike):
            path = folder / recording
            source = _read(path, session_id)
        else:
            source = recording
        try:
            found = replay(source, agent, **options)
        except InvalidExport as error:
            pytest.fail(f"{path or 'the recording'} is no recording: {error}", pytrace=False)
        if not found and config.getoption("update_recordings"):
            _update(path, source, agent, options)
            # Unlike a stash, it comes from the workers of a run in parallel too.
            request.node.user_properties.append((_WRITTEN, str(path)))
        elif not found:
            pytest.fail(_words(path, found), pytrace=False)
        return found

    return check


def _read(path: Path, session_id: str | None) -> Source:
    if not path.exists():
        pytest.fail(
            f"there is no recording {path}: record one with json.dump(session.to_dict(), file)",
            pytrace=False,
        )
    with path.open("rb") as file:
        is_log = file.read(len(_SQLITE)) == _SQLITE
    if is_log:
        return _read_log(path, session_id)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        data = error
    if not isinstance(data, Mapping):
        pytest.fail(f"{path} is neither JSON of session.to_dict() nor a log", pytrace=False)
    return cast("Source", data)


def _read_log(path: Path, session_id: str | None) -> Session:
    from agent.engine.agent import Agent  # noqa: PLC0415
    from agent.engine.session import Session  # noqa: PLC0415
    from agent.engine.stores import SQLiteStore  # noqa: PLC0415

    with SQLiteStore(path) as store:
        data = None if session_id is None else store.load(session_id)
        if data is None:
            known = ", ".join(store.list_sessions()[:10])
            pytest.fail(
                f"name a session of the log {path}: session_id=...; it has {known}", pytrace=False
            )
    return Session.from_dict(data, Agent("openai", "none"))


_SQLITE = b"SQLite format 3\0"


def _update(path: Path | None, source: Source, agent: Agent | None, options: ReplayOptions) -> None:
    """Write a recording anew, as a whole or not at all."""
    from agent.engine.replays import rewrite  # noqa: PLC0415

    if path is None or not isinstance(source, Mapping) or agent is None or "edit" in options:
        pytest.fail(
            "only a recording in a JSON file can be written anew, by an agent and without edit=",
            pytrace=False,
        )
    text = json.dumps(rewrite(source, agent, **options), indent=2, ensure_ascii=False) + "\n"
    beside: Path | None = None
    try:
        with NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            beside = Path(file.name)
            file.write(text)
        beside.chmod(path.stat().st_mode)
        beside.replace(path)
    except OSError as error:
        if beside is not None:
            beside.unlink(missing_ok=True)
        pytest.fail(f"{path} could not be written anew, and is as it was: {error}", pytrace=False)


def _words(path: Path | None, found: Replay) -> str:
    where = f"\n\nrecording: {path}" if path else ""
    return (
        f"today this session would be different, {found}{where}\n"
        "If that is meant: pytest --update-recordings writes it anew, with the same answers; "
        "review what has changed. New answers take a new recording."
    )


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter,
) -> None:
    """Name the recordings that were written anew."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "teardown":
                for name, path in report.user_properties:
                    if name == _WRITTEN:
                        terminalreporter.write_line(f"{_WRITTEN}: {path}")
