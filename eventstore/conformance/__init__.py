"""The contract of the event log as numbered tests, for every backend: ours and yours.

Subclass :class:`EventLogConformance` in your tests; any runner that calls ``test_*`` methods and
``teardown_method`` will do, and none is imported here::

    class TestMyLog(EventLogConformance):
        def open_log(self):
            return MyLog()

Each test's docstring is the sentence of the contract that it holds a log to.
"""

from __future__ import annotations

from agent.eventstore.conformance.appending import Appending
from agent.eventstore.conformance.attachments import Attachments
from agent.eventstore.conformance.concurrency import Concurrency
from agent.eventstore.conformance.deleting import Deleting
from agent.eventstore.conformance.erasing import Erasing
from agent.eventstore.conformance.expectations import ConformanceFailure
from agent.eventstore.conformance.forking import Forking
from agent.eventstore.conformance.reading import Reading

__all__ = ["ConformanceFailure", "EventLogConformance"]


class EventLogConformance(Appending, Reading, Forking, Deleting, Attachments, Concurrency, Erasing):
    """What every log promises. Implement ``open_log``, and ``reopen`` if a log can be reopened."""
