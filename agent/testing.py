"""What tests of an application need: a model that answers from a script."""

from agent.engine.scripted import Call, Reply, ScriptedModel, ScriptExhausted
from agent.engine.sources import Sources

__all__ = ["Call", "Reply", "ScriptExhausted", "ScriptedModel", "Sources"]
