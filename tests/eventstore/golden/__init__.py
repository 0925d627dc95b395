"""The stored bytes of every event type and schema version. Once written, they are only read.

``python -m tests.eventstore.golden`` writes those that are missing, and changes none.
"""

from pathlib import Path

FOLDER = Path(__file__).parent


def path_of(tag: str, schema: int) -> Path:
    """The golden file of a schema version."""
    return FOLDER / f"{tag}.v{schema}.json"
