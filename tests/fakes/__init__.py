from tests.fakes.chat_replies import (
    CloseConnection,
    Error,
    Hang,
    RawBody,
    Refusal,
    Reply,
    Stream,
    Text,
    ToolCalls,
)
from tests.fakes.chat_server import ChatServer, Request

__all__ = [
    "ChatServer",
    "CloseConnection",
    "Error",
    "Hang",
    "RawBody",
    "Refusal",
    "Reply",
    "Request",
    "Stream",
    "Text",
    "ToolCalls",
]
