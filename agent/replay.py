"""Recorded sessions taken again: replayed by the code of today, or live with something changed."""

from agent.engine.changes import Change
from agent.engine.divergence import Divergence
from agent.engine.plan import Plan, PlannedCall
from agent.engine.replay import Replay
from agent.engine.replays import Replays, replay, replay_all, rewrite
from agent.engine.rerun import Rerun

__all__ = [
    "Change",
    "Divergence",
    "Plan",
    "PlannedCall",
    "Replay",
    "Replays",
    "Rerun",
    "replay",
    "replay_all",
    "rewrite",
]
