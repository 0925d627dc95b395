"""The logs behind the one interface of ``log``: in memory, and in a SQLite file."""
