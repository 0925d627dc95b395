"""The errors of the engine: configuration, providers, output, limits, sessions."""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING

from agent.eventstore.errors import AgentError, StoreError

if TYPE_CHECKING:
    from agent.engine.unfinished import UnfinishedCall
    from agent.eventstore.messages import Message
    from agent.eventstore.values import Owner

LONGEST_KEY = 1000
"""Characters that a session id may have."""


class ConfigurationError(AgentError):
    """An argument that cannot work: corrected by the developer, not by trying again."""


class UnknownProvider(ConfigurationError):
    """No provider of this name. ``known`` lists those that there are."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(f"unknown provider {name!r}; known: {', '.join(known)}")
        self.name = name
        self.known = known


class MissingAPIKey(ConfigurationError):
    """The provider needs a key and none was given. ``variable`` is where it is looked for."""

    def __init__(self, provider: str, variable: str) -> None:
        super().__init__(f"{provider} needs a key: pass api_key=... or set {variable}")
        self.provider = provider
        self.variable = variable


class InvalidTool(ConfigurationError):
    """A tool whose name, signature or result cannot be put to a model."""


class InvalidPrompt(ConfigurationError):
    """A prompt or message that no session can take: of a wrong type, role or kind of part."""


class InvalidSessionId(ConfigurationError):
    """A session id that no store could keep: empty, too long, or with NUL or lone surrogates.

    Every other text is an id, and two that differ in any character are two sessions.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"a session id is text of 1 to {LONGEST_KEY} characters, not only white space, without "
            f"NUL and lone surrogates; this one {reason}"
        )
        self.reason = reason


class HistoryExists(ConfigurationError):
    """``messages=`` was given for a session that already has a history."""


class IdempotencyMismatch(ConfigurationError):
    """The idempotency key belongs to a turn that was asked something else.

    ``started`` is the version at which that turn began, ``recorded`` what it was asked, ``given``
    what is asked now; both are equal where the asked shapes differ.
    """

    def __init__(
        self, session_id: str, key: str, started: int, recorded: Message, given: Message
    ) -> None:
        what = "prompt" if recorded != given else "schema"
        super().__init__(
            f"idempotency_key {key!r} of session {session_id!r} belongs to the turn of version "
            f"{started}, which has another {what}; use a key of its own for each request"
        )
        self.session_id = session_id
        self.key = key
        self.started = started
        self.recorded = recorded
        self.given = given


class ProviderError(AgentError):
    """The model could not be asked, or did not answer.

    ``status`` is the HTTP status, ``type`` and ``code`` are the provider's words for the error,
    ``request_id`` is what its support asks for. ``retryable`` says whether the same call may
    succeed later, ``retry_after`` (seconds) when, if the provider said so.
    """

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        status: int | None = None,
        type: str | None = None,  # noqa: A002 - the provider's word
        code: str | None = None,
        request_id: str | None = None,
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.status = status
        self.type = type
        self.code = code
        self.request_id = request_id
        self.retryable = retryable
        self.retry_after = retry_after


class ConnectionFailed(ProviderError):
    """The provider could not be reached, or the connection broke."""


class ProviderTimeout(ProviderError):
    """The provider did not answer in time."""


class BadRequest(ProviderError):
    """The provider refused the request as it is; trying again will not help."""


class AuthenticationFailed(ProviderError):
    """The key is missing, wrong or not allowed to do this. Check key and base URL."""


class ModelNotFound(ProviderError):
    """No such model or address. Check ``model=`` and ``base_url=``."""


class RateLimited(ProviderError):
    """Too many requests for now."""


class QuotaExceeded(ProviderError):
    """The account's quota is used up; waiting will not help."""


class ServerFailed(ProviderError):
    """The provider failed."""


class MalformedResponse(ProviderError):
    """The answer is not what the protocol allows: cut, not JSON, of a wrong shape, too long."""


class OutputError(AgentError):
    """The model gave no answer of the asked shape. ``text`` is its last, ``errors`` say why not."""

    def __init__(self, message: str, *, text: str, errors: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.text = text
        self.errors = errors


class OutputRefused(OutputError):
    """The model declined to answer."""


class LimitExceeded(AgentError):
    """A limit of the turn was reached. ``limit`` names the setting that raises it."""

    def __init__(self, message: str, *, limit: str) -> None:
        super().__init__(message)
        self.limit = limit


class TurnCancelled(AgentError):
    """``session.cancel(reason)`` has ended the turn. The history is as before."""

    def __init__(self, session_id: str, reason: str) -> None:
        super().__init__(
            f"the turn of session {session_id!r} was cancelled: {reason}; resume() takes it up "
            "again, run() takes another"
        )
        self.session_id = session_id
        self.reason = reason


class NotSaved(StoreError):
    """The store did not take the session, but the session itself has what was done.

    ``__cause__`` is what the store raised. What this names must not be done again: the next turn
    or change hands the store everything.
    """

    def __init__(self, session_id: str, reason: Exception) -> None:
        super().__init__(
            f"session {session_id!r} is complete here, but its store did not keep it: "
            f"{type(reason).__name__}: {reason}"
        )
        self.session_id = session_id


class SessionBusy(AgentError):
    """Another thread or task is using this session. Wait for it, or fork the session."""

    def __init__(self, session_id: str) -> None:
        super().__init__(
            f"session {session_id!r} is in use by another turn, thread or task; "
            "wait for it, or fork the session"
        )
        self.session_id = session_id


class TurnOpen(AgentError):
    """The history cannot be changed while a turn is open. ``started`` is the turn's version."""

    def __init__(self, session_id: str, started: int, words: str = "") -> None:
        advice = "is open: resume() or abandon() it first, or read its stream to the end"
        super().__init__(
            f"the turn of session {session_id!r}, version {started}, {words or advice}"
        )
        self.session_id = session_id
        self.started = started


class TurnUnfinished(TurnOpen):
    """A turn never ended, and nothing else begins before it is finished or given up.

    ``calls`` are those that wait for a decision: whose outcome nobody knows, or which nobody has
    approved or rejected yet.
    """

    def __init__(
        self,
        session_id: str,
        started: int,
        calls: tuple[UnfinishedCall, ...] = (),
        words: str = "",
    ) -> None:
        first = f"; first decide with {_RESOLVE} about: {_named(calls)}" if calls else ""
        advice = f"never ended: resume() continues it, abandon() closes it{first}"
        super().__init__(session_id, started, words or advice)
        self.calls = calls


class OwnerAlive(TurnUnfinished):
    """Another process, thread or handle is running the turn, or may be.

    ``owner`` is that process, ``certain`` whether it is known to be alive.
    """

    def __init__(
        self, session_id: str, started: int, owner: Owner, *, certain: bool, resumable: bool = True
    ) -> None:
        alive = "is alive" if certain else "may be alive"
        ways = "resume(takeover=True) or abandon(takeover=True)"
        what, ways = ("turn", ways) if resumable else ("compaction", "abandon(takeover=True)")
        words = (
            f"is run by process {owner.process} on {owner.host}, which {alive}: wait for it, or "
            f"take the {what} from it with {ways}"
        )
        super().__init__(session_id, started, words=words)
        self.owner = owner
        self.certain = certain


class OutcomeUnknown(TurnUnfinished):
    """Nobody knows whether these calls have run: ``calls``, which wait for a decision."""

    def __init__(self, session_id: str, started: int, calls: tuple[UnfinishedCall, ...]) -> None:
        words = (
            f"has calls that were started, and nobody knows whether they have run: {_named(calls)}."
            f" Find out, decide with {_RESOLVE} about each, and resume()"
        )
        super().__init__(session_id, started, calls, words)


class ApprovalPending(TurnUnfinished):
    """The turn waits for a person's word, and nothing else: about ``calls``, none of which has run.

    No failure: the process that took the turn may be gone, and any other may go on.
    """

    def __init__(self, session_id: str, started: int, calls: tuple[UnfinishedCall, ...]) -> None:
        words = (
            f"waits for a person: approve(call_id) or reject(call_id) {_named(calls)}, then "
            "resume(); or abandon() it"
        )
        super().__init__(session_id, started, calls, words)


class NotPending(AgentError):
    """The call does not wait for a person, or is not the one that was shown.

    It was decided about before, its turn has ended, or there is no such call. Nothing was written.
    ``pending`` are the calls that wait.
    """

    def __init__(
        self, session_id: str, call_id: str, reason: str, pending: tuple[str, ...]
    ) -> None:
        super().__init__(
            f"call {reprlib.repr(call_id)} of session {session_id!r} {reason}; "
            f"waiting for a person: {', '.join(pending) or 'none'}"
        )
        self.session_id = session_id
        self.call_id = call_id
        self.pending = pending


class NothingUnfinished(AgentError):
    """There is no turn to take up: the last one is complete, or something has come after it."""

    def __init__(self, session_id: str) -> None:
        super().__init__(
            f"session {session_id!r} has no unfinished turn; session.run(...) takes a new one"
        )
        self.session_id = session_id


_RESOLVE = "resolve(call_id, result=... | retry=True | failed='why')"


def _named(calls: tuple[UnfinishedCall, ...]) -> str:
    return ", ".join(f"{call.call_id} ({call.tool})" for call in calls)


class CannotRewind(AgentError):
    """There is nothing of that kind to go back to. ``nearest`` are the versions that can be."""

    def __init__(self, message: str, *, nearest: tuple[int, ...]) -> None:
        super().__init__(message)
        self.nearest = nearest


class NoRequest(AgentError):
    """At this version nothing was asked of a model. ``requests`` are the versions where it was."""

    def __init__(self, session_id: str, version: int, kind: str, requests: tuple[int, ...]) -> None:
        before = [at for at in requests if at < version][-1:]
        after = [at for at in requests if at > version][:1]
        near = " and ".join(map(str, before + after))
        nearest = f"the nearest requests are at {near}" if near else "it has made no request yet"
        super().__init__(
            f"version {version} of session {session_id!r} is {kind!r}, no request: {nearest}"
        )
        self.session_id = session_id
        self.version = version
        self.requests = requests


class NoRecordedResult(AgentError):
    """In a rerun, a call that was not made then: nothing that is recorded answers it.

    ``tool`` and ``arguments`` (JSON text) say what the model asked for.
    """

    def __init__(self, call_id: str, tool: str, arguments: str) -> None:
        super().__init__(
            f"call {call_id} asks {tool}({reprlib.repr(arguments)[1:-1]}), for which no result is "
            'recorded; rerun with tool_results="ask" to decide about it, or with "live" to run it'
        )
        self.call_id = call_id
        self.tool = tool
        self.arguments = arguments


class CannotRewrite(AgentError):
    """A record cannot be brought up to date: today's code asks for what was never answered.

    ``version`` is the place in the record.
    """

    def __init__(self, version: int, what: str) -> None:
        super().__init__(
            f"at version {version} of the record, today's code {what}: record the session anew"
        )
        self.version = version


class StreamAbandoned(AgentError):
    """The stream cannot be read on: a later turn took over, or it belongs to a parent process."""

    def __init__(
        self,
        session_id: str,
        reason: str = "was ended by a later turn; its partial text is in the log",
    ) -> None:
        super().__init__(f"this stream of session {session_id!r} {reason}")
        self.session_id = session_id
