"""A target that reads sessions as JSON lines: edited files, and ones whose end was made to fit."""

import hashlib
import io
import json
from functools import cache
from random import Random

from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.errors import StoreError
from agent.eventstore.jsonl.checking import verify_jsonl
from agent.eventstore.verify import verify_log
from tests.eventstore.damaged import erase_some, fill
from tests.eventstore.jsonl.given import family, taken, written
from tests.fuzz.exports import sessions
from tests.fuzz.mutators import change, mutate
from tests.fuzz.runner import Target


@cache
def seeds() -> tuple[bytes, ...]:
    """Files with forks, attachments and erased events."""
    erased = MemoryLog()
    fill(erased)
    erase_some(erased)
    return written(family()), written(erased), written(sessions()[0]._handle.log)


class Lines(Target):
    """An edited file is refused before anything is written, or makes a log in which all is well.

    What is let in is what the check finds nothing wrong with, and is written again as it was.
    """

    name = "lines"

    def make(self, rng: Random) -> bytes:
        """A file that is changed anywhere, or in its lines, mostly with an end that fits."""
        lines = rng.choice(seeds()).splitlines(keepends=True)
        place = rng.randrange(len(lines))
        match rng.randrange(6):
            case 0:
                return mutate(rng, seeds())
            case 1:
                lines.insert(rng.randrange(len(lines)), lines[place])
            case 2:
                del lines[place]
            case 3:
                other = rng.randrange(len(lines))
                lines[place], lines[other] = lines[other], lines[place]
            case 4:
                lines[place] = mutate(rng, [lines[place]])
            case _:
                changed = change(rng, json.loads(lines[place]))
                lines[place] = changed.encode(errors="surrogatepass") + b"\n"
        return b"".join(lines) if rng.random() < 0.2 else _fitted(lines)

    def check(self, body: bytes) -> str:
        """Check it, import it twice, write it again."""
        found = verify_jsonl(io.BytesIO(body))
        log = MemoryLog()
        try:
            taken(log, body)
        except StoreError as error:
            assert list(log.read_all()) == []
            assert not found.ok or found.unread
            return type(error).__name__
        assert found.ok
        assert taken(log, body).events == 0
        assert verify_log(log, level="full").findings == []
        again = written(log)
        assert verify_jsonl(io.BytesIO(again)).events <= found.events
        return "imported"


def _fitted(lines: list[bytes]) -> bytes:
    """The lines with the sum that they have, and as many events and attachments."""
    try:
        end = json.loads(lines[-1])
        kinds = [json.loads(line).get("kind") for line in lines]
        counts = {f"{kind}s": kinds.count(kind) for kind in ("event", "attachment")}
        body = b"".join(lines[:-1])
        end |= {**counts, "sha256": hashlib.sha256(body).hexdigest()}
    except (ValueError, AttributeError, TypeError, RecursionError, IndexError):
        return b"".join(lines)
    return body + json.dumps(end).encode() + b"\n"
