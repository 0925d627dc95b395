"""The agent: a provider, a model, tools and a store, from which sessions are made."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, Unpack, get_args

from agent.engine.approvals import ApprovalPolicy, checked_policy
from agent.engine.ask import OnUnfinished, Setup
from agent.engine.bound import Bound
from agent.engine.configurations import Today
from agent.engine.errors import ConfigurationError
from agent.engine.handle import Binding, Handle
from agent.engine.opening import Wanted
from agent.engine.output import Output
from agent.engine.prompts import checked_history
from agent.engine.providers import connect
from agent.engine.session import Session
from agent.engine.settings import (
    CompactionPolicy,
    Limits,
    SettingsOptions,
    TurnOptions,
    check_seconds,
    settings_of,
)
from agent.engine.sources import Sources
from agent.engine.stores import LogStore, SessionStore, checked_export, checked_key
from agent.engine.tools import Tool, Toolset
from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.export import holds, import_events
from agent.eventstore.messages import Message
from agent.eventstore.rawjson import check_text, to_raw

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from agent.engine.provider import Provider


class Agent(Bound):
    """Makes sessions that talk to one provider.

    >>> agent = Agent(provider="openai", model="gpt-4o")  # key from OPENAI_API_KEY

    ``provider`` is a name or a :class:`~agent.providers.Provider`; ``base_url`` points to
    another server of the same protocol. ``store`` keeps the sessions; without one each session
    lives in memory. ``max_steps``, ``max_tokens_per_turn``, ``max_retries``, ``timeout`` and
    ``deadline`` (seconds) bound every turn. ``on_unfinished`` says what a new turn does about one
    that never ended because its process is gone: ``"raise"`` an error, ``"resume"`` it first, or
    ``"abandon"`` it. ``requires_approval`` says for all tools what ``@tool(requires_approval=...)``
    says for one. ``window`` bounds how many of the last messages a request holds;
    ``compact_at`` is a :class:`CompactionPolicy`. Further keyword arguments are the default
    settings of turns.

    Raises :class:`ConfigurationError`. An agent may be shared between threads and event loops.
    """

    _instead = "make an agent in the other place"

    def __init__(
        self,
        provider: str | Provider = "openai",
        model: str | None = None,
        *,
        tools: Sequence[Tool[..., Any] | Callable[..., Any]] = (),
        store: SessionStore | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        max_steps: int = Limits().max_steps,
        max_tokens_per_turn: int | None = None,
        max_retries: int = Limits().max_retries,
        max_output_retries: int = Limits().max_output_retries,
        timeout: float = 600.0,
        deadline: float | None = None,
        on_unfinished: OnUnfinished = "raise",
        requires_approval: ApprovalPolicy = False,
        window: int | None = None,
        compact_at: CompactionPolicy | None = None,
        sources: Sources | None = None,
        **options: Unpack[SettingsOptions],
    ) -> None:
        limits = Limits(
            max_steps=max_steps,
            max_tokens_per_turn=max_tokens_per_turn,
            max_retries=max_retries,
            max_output_retries=max_output_retries,
            deadline=deadline,
            window=window,
        )
        check_seconds("timeout", timeout)
        made = connect(provider, base_url=base_url, api_key=api_key, timeout=timeout)
        chosen = made.default_model if model is None else model
        if chosen is None:
            raise ConfigurationError(f"name a model of {made.name}: Agent(..., model=...)")
        chosen_options: TurnOptions = {**options, "model": chosen}
        settings_of(chosen_options)
        if "idempotency_key" in options:
            raise ConfigurationError("an idempotency_key belongs to one turn: give it to run()")
        if on_unfinished not in get_args(OnUnfinished):
            choices = ", ".join(map(repr, get_args(OnUnfinished)))
            raise ConfigurationError(f"on_unfinished takes one of {choices}, not {on_unfinished!r}")
        self.model = chosen
        self.options = options
        self.store = _checked_store(store)
        policy = _checked_policy(compact_at)
        self._setup = Setup(
            made,
            Toolset(tools),
            limits,
            sources or Sources(),
            on_unfinished,
            policy,
            checked_policy(requires_approval, of="requires_approval="),
        )

    @property
    def provider(self) -> Provider:
        """Who is asked."""
        return self._setup.provider

    def session(
        self,
        session_id: str | None = None,
        *,
        system: str | None = None,
        messages: Sequence[Message] = (),
        metadata: Mapping[str, Any] | None = None,
    ) -> Session:
        """A session: the one that the store keeps under this id, or a new one.

        Does no I/O; the first use loads. ``system`` and ``metadata`` replace what an existing
        session has; ``messages`` is the history of a new one. Raises
        :class:`ConfigurationError`, :class:`PairingError`, and :class:`InvalidEvent` for what
        JSON cannot hold.
        """
        if metadata is not None and not isinstance(metadata, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - user input
            raise ConfigurationError(f"metadata= takes a dict, not {type(metadata).__name__}")
        raw = None if metadata is None else to_raw(dict(metadata), of="metadata")
        wanted = Wanted(_checked_system(system), raw, checked_history(messages))
        return Session(self, Handle(self._bind(self.new_key(session_id)), self._setup, wanted))

    def today(self, schemas: Sequence[type[Any] | TypeAdapter[Any]] = ()) -> Today:
        """What the agent brings to every turn; ``schemas`` are types that ``json`` is given.

        Raises :class:`ConfigurationError` for what is no type of an answer.
        """
        if not isinstance(schemas, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance] - user input
            raise ConfigurationError("schemas= takes a list of types: schemas=[...]")
        outputs = {output.schema.name: output for output in map(Output[Any], schemas)}
        return Today(self._setup, self.model, self.options, outputs)

    def varied(self, setup: Setup, model: str) -> Agent:
        """This agent with another setup and model, over the same store."""
        other: Agent = object.__new__(type(self))
        vars(other).update(vars(self))
        other.model, other._setup = model, setup
        other.options = {**self.options, "model": model}
        return other

    def new_key(self, session_id: str | None) -> str:
        """The key of a session: the one asked for, checked, or a fresh one."""
        return self._setup.sources.session_id() if session_id is None else checked_key(session_id)

    def adopt(self, data: Mapping[str, Any], session_id: str | None) -> Handle:
        """A handle on an imported session. Raises as :meth:`Session.from_dict`."""
        export = checked_export(data)
        key = self.new_key(export.session_id if session_id is None else session_id)
        binding = self._bind(key)
        if binding.load is not None:
            binding.load(key)
        if key != export.session_id:
            export = export.continued(self._setup.sources.prepare(export.fork_event(key)))
        import_events(binding.log, key, export)
        handle = Handle(binding, self._setup)
        handle.save()
        return handle

    def _bind(self, key: str) -> Binding:
        store = self.store
        if store is None:
            return Binding(MemoryLog(), key)
        if isinstance(store, LogStore):
            return Binding(store.log, key)
        log = MemoryLog()

        def load(key: str) -> None:
            data = store.load(key)
            if data is None:
                return
            export = checked_export(data)
            if not holds(log, key, export.head):
                import_events(log, key, export)

        def save(handle: Handle) -> None:
            store.save(handle.binding.key, handle.export())

        return Binding(log, key, load, save)

    def close(self) -> None:
        """Release the provider's connections. The store is its owner's to close.

        Those of async turns close with their event loop; :meth:`aclose` closes them earlier.
        """
        self._setup.provider.close()

    async def aclose(self) -> None:
        """As :meth:`close`, for the connections of this event loop too."""
        await self._setup.provider.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


def _checked_system(system: str | None) -> str | None:
    """A system prompt. Raises :class:`ConfigurationError`."""
    if system is None:
        return None
    if not isinstance(system, str):  # pyright: ignore[reportUnnecessaryIsInstance] - user input
        raise ConfigurationError(f"system= takes text, not {type(system).__name__}")
    check_text(system, of="system", path="$")
    return str.__str__(system)


def _checked_policy(policy: CompactionPolicy | None) -> CompactionPolicy | None:
    """Refuse what is no policy. Raises :class:`ConfigurationError`."""
    if policy is not None and not isinstance(policy, CompactionPolicy):  # pyright: ignore[reportUnnecessaryIsInstance] - user input
        raise ConfigurationError(
            f"compact_at= takes CompactionPolicy(messages=...), not {type(policy).__name__}"
        )
    return policy


def _checked_store(store: SessionStore | None) -> SessionStore | None:
    """Refuse what cannot keep a session. Raises :class:`ConfigurationError`."""
    if store is None:
        return None
    if not isinstance(store, SessionStore):  # pyright: ignore[reportUnnecessaryIsInstance] - user input
        raise ConfigurationError(
            "store= takes a SessionStore such as SQLiteStore(path), "
            f"not of type {type(store).__name__}"
        )
    for method in (store.save, store.load):
        if inspect.iscoroutinefunction(method):
            raise ConfigurationError(f"{method.__qualname__} is async; a store's methods are not")
    return store
