"""What a server means by an error: statuses are the same everywhere, words nearly so."""

from __future__ import annotations

import math
import re
import time
from email.utils import mktime_tz, parsedate_tz
from typing import TYPE_CHECKING, Any, cast

import msgspec

from agent.engine.errors import (
    AuthenticationFailed,
    BadRequest,
    ModelNotFound,
    ProviderError,
    ProviderTimeout,
    QuotaExceeded,
    RateLimited,
    ServerFailed,
)
from agent.engine.providers.wire import Object, as_object, as_objects, as_string

if TYPE_CHECKING:
    from collections.abc import Mapping

_BY_STATUS: dict[int, type[ProviderError]] = {
    401: AuthenticationFailed,
    402: QuotaExceeded,
    403: AuthenticationFailed,
    404: ModelNotFound,
    408: ProviderTimeout,
    409: ServerFailed,
    429: RateLimited,
}
_RETRYABLE = (ProviderTimeout, RateLimited, ServerFailed)
_ADVICE = {"true": True, "false": False}
_QUOTA_WORDS = {
    "insufficient_quota",
    "exceeded_current_quota_error",
    "billing_hard_limit_reached",
    "billing_not_active",
    "billing_error",
}
_KEY_WORDS = {"API_KEY_INVALID", "API_KEY_EXPIRED"}
"""Words for a wrong key, whatever the status."""

_DAILY = "PerDay"
"""What the name of a quota holds that no retry outlasts."""

_SECONDS = re.compile(r"\d{1,9}(\.\d{1,9})?(?=s$)")
_STATUS_OF_WORD = {
    "rate_limit": 429,
    "invalid_prompt": 400,
    "image": 400,
    "policy": 400,
    "data_residency": 400,
    "invalid_request": 400,
    "authentication": 401,
    "not_found": 404,
    "context_length": 400,
    "permission": 403,
    "too_large": 413,
    "timeout": 408,
}
_REQUEST_IDS = ("x-request-id", "request-id")
_SHOWN = 500
_TAGS = re.compile(r"<(script|style|head)\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)


class Asked(msgspec.Struct, frozen=True):
    """Who was asked for what: an error names the settings to look at."""

    provider: str
    model: str
    base_url: str
    key_variable: str

    def advice(self, status: int, cls: type[ProviderError]) -> str:
        """What to do about a status; "" if only the server's words can tell."""
        match status:
            case _ if issubclass(cls, QuotaExceeded):
                return "; check the account's balance and limits"
            case _ if issubclass(cls, _RETRYABLE):
                return "; try again later"
            case 401:
                return f"; check the key (api_key or {self.key_variable})"
            case 403:
                return f"; this key (api_key or {self.key_variable}) may not do it"
            case 404:
                return f"; check the model {self.model!r} and the base URL {self.base_url!r}"
            case _:
                return ""


def read_failure(
    asked: Asked, status: int, headers: Mapping[str, str], body: bytes
) -> ProviderError:
    """The error that an HTTP status with its body stands for."""
    error = _error_object(body)
    text = _message(error) or _readable(body) or "no message"
    code, kind = _word(error, "code"), _word(error, "type") or _word(error, "status")
    cls = _class(status, code, kind, error)
    advised = _ADVICE.get(headers.get("x-should-retry", ""), issubclass(cls, _RETRYABLE))
    retryable = advised and cls is not QuotaExceeded
    return cls(
        f"status {status} of {asked.provider}: {text}{asked.advice(status, cls)}",
        provider=asked.provider,
        status=status,
        type=kind,
        code=code,
        request_id=next((headers[name] for name in _REQUEST_IDS if name in headers), None),
        retryable=retryable,
        retry_after=_retry_after(headers, error) if retryable else None,
    )


def error_in_answer(error: object, provider: str) -> ProviderError:
    """An error that a server sends inside of a 200 answer."""
    found = _as_error(error)
    code, kind = _word(found, "code"), _word(found, "type") or _word(found, "status")
    cls = _class(_status_of(code, kind), code, kind, found)
    advice = "; try again" if issubclass(cls, _RETRYABLE) else ""
    return cls(
        f"{provider} broke off with an error: {_message(found) or 'no message'}{advice}",
        provider=provider,
        status=200,
        type=kind,
        code=code,
        retryable=issubclass(cls, _RETRYABLE),
    )


def _class(status: int, code: str | None, kind: str | None, error: Object) -> type[ProviderError]:
    details = as_objects(error.get("details"))
    quotas = [one for item in details for one in as_objects(item.get("violations"))]
    if _QUOTA_WORDS & {code, kind} or any(_DAILY in as_string(q.get("quotaId")) for q in quotas):
        return QuotaExceeded
    if _KEY_WORDS & {as_string(item.get("reason")) for item in details}:
        return AuthenticationFailed
    return _BY_STATUS.get(status, ServerFailed if status >= 500 else BadRequest)


def _status_of(code: str | None, kind: str | None) -> int:
    """The status that these words would have come with; 500 for words that say nothing."""
    if code and re.fullmatch("[45][0-9][0-9]", code):
        return int(code)
    words = f"{code} {kind}".lower()
    return next((status for word, status in _STATUS_OF_WORD.items() if word in words), 500)


def _error_object(body: bytes) -> Object:
    """Of ``{"error": {...}}``, ``{"error": "..."}``, the bare object, or a list of one of these."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    if isinstance(decoded, list) and decoded:
        decoded = cast("list[Any]", decoded)[0]
    said = as_object(cast("Any", decoded))
    return _as_error(said.get("error") or said)


def _as_error(said: object) -> Object:
    return as_object(said) or {"message": said}


def _message(error: Object) -> str:
    """The server's words, and those of the server behind it."""
    said = error.get("message") or error.get("detail") or ""
    try:
        text = said if isinstance(said, str) else msgspec.json.encode(said).decode()
    except RecursionError:
        text = ""
    raw = as_string(as_object(error.get("metadata")).get("raw"))
    if raw:
        text = f"{text}: {raw}"
    return text[:_SHOWN].rstrip(". ")


def _readable(body: bytes) -> str:
    """The beginning of a body that is no JSON, without the tags of a web page."""
    text = _TAGS.sub(" ", body[: 20 * _SHOWN].decode(errors="replace"))
    return " ".join(text.split())[:_SHOWN]


def _word(error: Object, key: str) -> str | None:
    value = error.get(key)
    return str(value) if isinstance(value, str | int) and value != "" else None


def _retry_after(headers: Mapping[str, str], error: Object) -> float | None:
    """Seconds from ``retry-after-ms``, ``retry-after`` (seconds or an HTTP date), or the body."""
    delay = _delay_in_headers(headers)
    return _delay_in_body(error) if delay is None else delay


def _delay_in_body(error: Object) -> float | None:
    """Of a detail like ``{"retryDelay": "13s"}``."""
    for item in as_objects(error.get("details")):
        found = _SECONDS.match(as_string(item.get("retryDelay")))
        if found:
            return float(found[0])
    return None


def _delay_in_headers(headers: Mapping[str, str]) -> float | None:
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    date = parsedate_tz(headers.get("retry-after", ""))
    if date is None:
        return None
    try:
        return max(0.0, mktime_tz((*date[:9], date[9] or 0)) - time.time())
    except (ValueError, OverflowError):
        return None
