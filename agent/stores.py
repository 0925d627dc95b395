"""Where sessions are kept: in memory, in SQLite, or in a store of one's own."""

from agent.engine.stores import LogStore, MemoryStore, SessionInfo, SessionStore, SQLiteStore

__all__ = ["LogStore", "MemoryStore", "SQLiteStore", "SessionInfo", "SessionStore"]
