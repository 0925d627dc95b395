"""Recorded sessions driven again by the code of today: what would be different, and why."""

from agent.engine.changes import Change
from agent.engine.divergence import Divergence
from agent.engine.replay import Replay
from agent.engine.replays import Replays, replay, replay_all

__all__ = ["Change", "Divergence", "Replay", "Replays", "replay", "replay_all"]
