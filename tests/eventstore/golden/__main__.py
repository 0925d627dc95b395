from agent.eventstore.codec import CODEC
from tests.eventstore.golden import path_of
from tests.eventstore.samples import SAMPLES

for (tag, schema), event in SAMPLES.items():
    path = path_of(tag, schema)
    if not path.exists() and schema == event.schema:
        path.write_bytes(CODEC.encode(event))
