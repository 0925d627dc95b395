"""The `agent` command: tools for audit, replay and time travel, one module for each command."""
