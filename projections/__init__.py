"""State from events: pure folds. They do no I/O, and dropping every result changes nothing."""
