"""Facts and where they lie: messages, events, their bytes, their chain, and the logs."""
