"""What a Chat Completions server means by an error."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, cast

import msgspec

from agent.engine.errors import (
    AuthenticationFailed,
    BadRequest,
    ModelNotFound,
    ProviderError,
    QuotaExceeded,
    RateLimited,
    ServerFailed,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_BY_STATUS: dict[int, type[ProviderError]] = {
    401: AuthenticationFailed,
    402: QuotaExceeded,
    403: AuthenticationFailed,
    404: ModelNotFound,
    429: RateLimited,
}
_RETRYABLE = {408, 409, 429}
_SERVER_ERROR = 500
_QUOTA_CODES = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_SHOWN = 500


def read_failure(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """The error that an HTTP status with its body stands for."""
    error = _error_object(body)
    text = _text(error.get("message")) or body[:_SHOWN].decode(errors="replace") or "no message"
    code, kind = _text(error.get("code")), _text(error.get("type"))
    cls = _BY_STATUS.get(status, ServerFailed if status >= _SERVER_ERROR else BadRequest)
    retryable = status in _RETRYABLE or status >= _SERVER_ERROR
    if _QUOTA_CODES & {code, kind}:
        cls, retryable = QuotaExceeded, False
    advised = headers.get("x-should-retry")
    if advised in ("true", "false"):
        retryable = advised == "true"
    return cls(
        f"status {status}: {text}",
        provider="openai",
        status=status,
        type=kind,
        code=code,
        request_id=headers.get("x-request-id"),
        retryable=retryable,
        retry_after=_retry_after(headers) if retryable else None,
    )


def error_in_stream(error: Mapping[str, Any]) -> ProviderError:
    """An error that a server sends inside of a 200 answer."""
    code, kind = _text(error.get("code")), _text(error.get("type"))
    text = _text(error.get("message")) or "no message"
    words = f"{kind or ''} {code or ''}".lower()
    if _QUOTA_CODES & {code, kind}:
        cls: type[ProviderError] = QuotaExceeded
    elif "rate_limit" in words or code == "429":
        cls = RateLimited
    elif "invalid_request" in words or code == "400":
        cls = BadRequest
    else:
        cls = ServerFailed
    retryable = cls in (RateLimited, ServerFailed)
    return cls(
        f"error inside the answer: {text}",
        provider="openai",
        type=kind,
        code=code,
        retryable=retryable,
    )


def _error_object(body: bytes) -> dict[str, Any]:
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    if not isinstance(decoded, dict):
        return {}
    error = cast("dict[str, Any]", decoded).get("error", decoded)
    if isinstance(error, str):
        return {"message": error}
    return cast("dict[str, Any]", error) if isinstance(error, dict) else {}


def _text(value: object) -> str | None:
    return None if value is None or value == "" else str(value)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from ``retry-after-ms`` or ``retry-after`` (seconds or an HTTP date)."""
    try:
        return max(0.0, float(headers["retry-after-ms"]) / 1000)
    except (KeyError, ValueError):
        pass
    value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
