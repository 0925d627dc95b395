"""Messages and their parts: what a user, a model and a tool can say.

Everything here is frozen, and each part is one of a closed, tagged union. Attachments are named by
their content (SHA-256); the bytes lie in the log beside the events.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

import msgspec

from agent.eventstore.errors import InvalidEvent
from agent.eventstore.rawjson import check_raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Role = Literal["user", "assistant", "tool"]


class Opaque(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a provider said that only it understands: signatures, encrypted reasoning, ids.

    ``data`` is raw JSON. It goes back unchanged to the provider, api and model that issued it,
    and is left out for every other.
    """

    provider: str
    api: str
    model: str
    data: msgspec.Raw


class Blob(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="blob", tag_field="kind", dict=True
):
    """An attachment by content: ``digest`` (SHA-256, hex) and ``size`` in bytes."""

    digest: str
    size: int

    @classmethod
    def of(cls, data: bytes) -> Blob:
        """Name these bytes, which travel with the object and are stored with its event."""
        if not isinstance(data, bytes | bytearray | memoryview):  # pyright: ignore[reportUnnecessaryIsInstance] - user input
            raise TypeError(
                f"an attachment is bytes, not {type(data).__name__}; Path(...).read_bytes() gives "
                "those of a file"
            )
        return cls(hashlib.sha256(data).hexdigest(), len(data)).bringing(data)

    def bringing(self, data: bytes) -> Blob:
        """The same with its bytes."""
        vars(self)["data"] = bytes(data)
        return self

    @property
    def data(self) -> bytes | None:
        """The bytes, where this object came with them."""
        return vars(self).get("data")

    def __reduce__(self) -> tuple[Callable[..., Blob], tuple[str, int, bytes | None]]:
        """Copies and pickles take the bytes along."""
        return _blob, (self.digest, self.size, self.data)


def _blob(digest: str, size: int, data: bytes | None) -> Blob:
    return Blob(digest, size) if data is None else Blob.of(data)


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="link", tag_field="kind"):
    """An attachment that the provider fetches itself."""

    url: str


class _Part(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="type",
    gc=False,  # data alone, without cycles: the collector need not look at it
):
    @property
    def type(self) -> str:
        """The tag of this kind of part."""
        return str(self.__struct_config__.tag)


class TextPart(_Part, tag="text", frozen=True):
    """Plain text."""

    text: str
    opaque: Opaque | None = None


class RefusalPart(_Part, tag="refusal", frozen=True):
    """The model's words for declining to answer."""

    text: str
    opaque: Opaque | None = None


class ReasoningPart(_Part, tag="reasoning", frozen=True):
    """What the model showed of its reasoning; never part of the answer's text."""

    text: str
    opaque: Opaque | None = None


class ImagePart(_Part, tag="image", frozen=True):
    """An image, stored by content or linked."""

    source: Blob | Link
    media_type: str | None = None
    opaque: Opaque | None = None

    @classmethod
    def from_bytes(cls, data: bytes, media_type: str = "image/png") -> ImagePart:
        """An image from its bytes."""
        return cls(Blob.of(data), media_type)

    @classmethod
    def from_url(cls, url: str) -> ImagePart:
        """An image that the provider fetches."""
        return cls(Link(url))


class FilePart(_Part, tag="file", frozen=True):
    """A document, stored by content or linked."""

    source: Blob | Link
    media_type: str
    name: str | None = None
    opaque: Opaque | None = None

    @classmethod
    def from_bytes(cls, data: bytes, media_type: str, name: str | None = None) -> FilePart:
        """A document from its bytes."""
        return cls(Blob.of(data), media_type, name)


class ToolCallPart(_Part, tag="tool_call", frozen=True):
    """The model's wish to call a tool.

    ``call_id`` is ours and unique in its session. ``arguments`` is the JSON text exactly as the
    model wrote it, valid or not. ``provider_id`` is what the provider called it, if anything.
    """

    call_id: str
    name: str
    arguments: str
    provider_id: str | None = None
    opaque: Opaque | None = None

    @property
    def valid_arguments(self) -> str:
        """The arguments as a JSON object, whatever the model wrote: what goes back to providers.

        Many servers parse the calls of the history, and refuse all of it for one that was cut, is
        nested without end, or holds half a character.
        """
        text = self.arguments or "{}"
        try:
            raw = text.encode()
            msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
            check_raw(msgspec.Raw(raw), of="arguments", path="$")
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError, InvalidEvent):
            return msgspec.json.encode({"invalid_arguments": text}).decode()
        return text


class OpaquePart(_Part, tag="opaque", frozen=True):
    """A block that only its provider understands, kept in its place."""

    opaque: Opaque


ResultContent = TextPart | ImagePart | FilePart | OpaquePart


class ToolResultPart(_Part, tag="tool_result", frozen=True):
    """What a tool answered to the call ``call_id``."""

    call_id: str
    content: tuple[ResultContent, ...]
    is_error: bool = False
    opaque: Opaque | None = None

    @property
    def text(self) -> str:
        """The text of the result."""
        return "".join(part.text for part in self.content if isinstance(part, TextPart))


Part = (
    TextPart
    | RefusalPart
    | ReasoningPart
    | ImagePart
    | FilePart
    | ToolCallPart
    | ToolResultPart
    | OpaquePart
)


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One message of a conversation: a role and its parts, in order.

    >>> Message.user("Hello").text
    'Hello'
    """

    role: Role
    parts: tuple[Part, ...]

    @classmethod
    def user(cls, *content: str | Part) -> Message:
        """What the user says: text, images, files."""
        return cls("user", _parts(content))

    @classmethod
    def assistant(cls, *content: str | Part) -> Message:
        """What the model says: text, reasoning, tool calls."""
        return cls("assistant", _parts(content))

    @classmethod
    def tool(cls, *results: ToolResultPart) -> Message:
        """What tools answered to the calls of the message before."""
        return cls("tool", results)

    @property
    def text(self) -> str:
        """The text of the message; "" if it has none."""
        separator = "\n" if self.role == "tool" else ""
        return separator.join(
            part.text for part in self.parts if isinstance(part, TextPart | ToolResultPart)
        )

    @property
    def refusal(self) -> str | None:
        """The model's refusal, if this is one."""
        refusals = [part.text for part in self.parts if isinstance(part, RefusalPart)]
        return "".join(refusals) if refusals else None

    @property
    def tool_calls(self) -> tuple[ToolCallPart, ...]:
        """The calls that this message asks for."""
        return tuple(part for part in self.parts if isinstance(part, ToolCallPart))

    @property
    def tool_results(self) -> tuple[ToolResultPart, ...]:
        """The results that this message brings."""
        return tuple(part for part in self.parts if isinstance(part, ToolResultPart))

    def blobs(self) -> Iterator[Blob]:
        """Every attachment that is stored by content, those inside tool results included."""
        return blobs_of(self.parts)


def every_part(parts: Iterable[Part]) -> Iterator[Part]:
    """The parts, each tool result followed by those inside of it."""
    for part in parts:
        yield part
        if isinstance(part, ToolResultPart):
            yield from part.content


def blobs_of(parts: Iterable[Part]) -> Iterator[Blob]:
    """Every attachment of these parts that is stored by content."""
    for part in every_part(parts):
        if isinstance(part, ImagePart | FilePart) and isinstance(part.source, Blob):
            yield part.source


def _parts(content: tuple[str | Part, ...]) -> tuple[Part, ...]:
    return tuple(TextPart(item) if isinstance(item, str) else item for item in content)
