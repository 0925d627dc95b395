"""What belongs to one process and cannot be handed to another."""

from __future__ import annotations

from typing import ClassVar, NoReturn

from agent.engine.errors import ConfigurationError


class Bound:
    """Refuses to be pickled or copied; ``_instead`` says what to do."""

    _instead: ClassVar[str]

    def __reduce__(self) -> NoReturn:
        """Raise :class:`ConfigurationError`."""
        name = type(self).__name__
        raise ConfigurationError(f"{name} objects cannot be pickled or copied: {self._instead}")
