"""What tests of an application need: a model that answers from a script, a log that fails."""

from agent.engine.scripted import Call, Reply, ScriptedModel, ScriptExhausted
from agent.engine.sources import Sources
from agent.eventstore.backends.failing import FailingLog

__all__ = ["Call", "FailingLog", "Reply", "ScriptExhausted", "ScriptedModel", "Sources"]
