"""Tables of a log, for people who like SQL, and full-text search."""

from agent.projections.tables.searching import Hit
from agent.projections.tables.tables import Tables

__all__ = ["Hit", "Tables"]
