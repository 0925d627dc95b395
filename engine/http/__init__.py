"""HTTP: the only package that knows httpx.

A provider describes an exchange without I/O; this package carries it out, sync or async, and turns
what can go wrong on the way into :class:`~agent.engine.errors.ProviderError`. ``transport`` is
imported with the first call: httpx takes long to import.
"""

from agent.engine.http.exchange import Exchange

__all__ = ["Exchange"]
