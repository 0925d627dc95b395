"""The release of this library, as facts and exports record it."""

from __future__ import annotations

from functools import cache


@cache
def library_version() -> str:
    """The installed release; "0+unknown" in a checkout that was never installed."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - slow to import

    try:
        return version("agent-sessions")
    except PackageNotFoundError:
        return "0+unknown"
