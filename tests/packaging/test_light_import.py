import subprocess
import sys

HEAVY = {"asyncio", "click", "httpx", "pydantic", "rich", "sqlite_utils", "structlog"}


def test_import_is_light():
    """Importing `agent` loads none of the libraries that only some programs need."""
    program = f"import sys, agent; print(*sorted({HEAVY!r} & set(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert run.stdout.split() == []
