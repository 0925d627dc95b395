"""Read models for SQL: tables and a full-text index, built from the feed of a log."""
