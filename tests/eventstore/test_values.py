import hashlib

import msgspec

from agent.eventstore.rawjson import to_raw
from agent.eventstore.values import Settings, ToolDefinition, Usage, metadata_dict, tools_digest

LOOK_UP = ToolDefinition("look_up", "Looks up a key.", msgspec.Raw(b'{"type":"object"}'))
WRITE = ToolDefinition("write", "Writes a key.", msgspec.Raw(b'{"type":"object"}'))


def test_usage_adds_up():
    """Usages are added field by field; the total is input and output."""
    total = Usage(1, 2, 3, 4, 5) + Usage(10, 20, 30, 40, 50)

    assert Usage(11, 22, 33, 44, 55) == total
    assert total.total_tokens == 33


def test_unset_settings_are_not_written():
    """What is left to the provider takes no room."""
    assert (
        msgspec.json.encode(Settings(extra=msgspec.Raw(b"{}"), seed=0)) == b'{"seed":0,"extra":{}}'
    )
    assert msgspec.json.encode(Settings()) == b"{}"


def test_tools_digest_covers_everything():
    """The digest of a tool set is that of its JSON; order, names, words and schemas count."""
    text = (
        b'[{"name":"look_up","description":"Looks up a key.","parameters":{"type":"object"}},'
        b'{"name":"write","description":"Writes a key.","parameters":{"type":"object"}}]'
    )

    assert hashlib.sha256(text).hexdigest() == tools_digest((LOOK_UP, WRITE))
    assert tools_digest((LOOK_UP, WRITE)) != tools_digest((WRITE, LOOK_UP))
    assert tools_digest(()) == hashlib.sha256(b"[]").hexdigest()


def test_metadata_is_a_fresh_dictionary():
    """Metadata is handed out as a copy: changing it changes no event."""
    raw = to_raw({"user": {"name": "ada"}}, of="metadata")

    metadata_dict(raw)["user"] = None

    assert metadata_dict(raw) == {"user": {"name": "ada"}}
