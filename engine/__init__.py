"""Commands to events: agents, sessions, the turn and what performs it."""
