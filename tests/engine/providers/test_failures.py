import json
import time
from email.utils import formatdate
from typing import Any

import pytest

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
from agent.engine.providers.failures import Asked, read_failure

ASKED = Asked("openai", "gpt-4o", "https://api.openai.com/v1", "OPENAI_API_KEY")


def failure(
    status: int, error: Any = None, headers: dict[str, str] | None = None, body: bytes | None = None
) -> ProviderError:
    """The error that a response stands for."""
    given = json.dumps({"error": error}).encode() if body is None else body
    return read_failure(ASKED, status, headers or {}, given)


@pytest.mark.parametrize(
    ("status", "cls", "retryable"),
    [
        (400, BadRequest, False),
        (401, AuthenticationFailed, False),
        (402, QuotaExceeded, False),
        (403, AuthenticationFailed, False),
        (404, ModelNotFound, False),
        (405, BadRequest, False),
        (408, ProviderTimeout, True),
        (409, ServerFailed, True),
        (413, BadRequest, False),
        (422, BadRequest, False),
        (429, RateLimited, True),
        (500, ServerFailed, True),
        (502, ServerFailed, True),
        (503, ServerFailed, True),
        (504, ServerFailed, True),
        (529, ServerFailed, True),
    ],
)
def test_statuses(status: int, cls: type[ProviderError], retryable: bool) -> None:
    """Each has its class, and may be worth another attempt or not."""
    error = failure(status, {"message": "m", "type": "t", "code": "c"}, {"x-request-id": "req_1"})
    assert type(error) is cls
    assert (error.status, error.type, error.code) == (status, "t", "c")
    assert (error.retryable, error.retry_after) == (retryable, None)
    assert (error.provider, error.request_id) == ("openai", "req_1")
    assert str(error).startswith(f"status {status} of openai: m")


@pytest.mark.parametrize("name", ["x-request-id", "request-id"])
def test_the_id_of_the_request(name: str) -> None:
    """Vendors name its header differently."""
    assert failure(500, {"message": "m"}, {name: "req_1"}).request_id == "req_1"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "status 400 of openai: m"),
        (401, "status 401 of openai: m; check the key (api_key or OPENAI_API_KEY)"),
        (403, "status 403 of openai: m; this key (api_key or OPENAI_API_KEY) may not do it"),
        (
            404,
            (
                "status 404 of openai: m; check the model 'gpt-4o' and the base URL "
                "'https://api.openai.com/v1'"
            ),
        ),
    ],
)
def test_the_error_says_what_to_do(status: int, words: str) -> None:
    """It names the setting to look at."""
    assert str(failure(status, {"message": "m"})) == words


@pytest.mark.parametrize(
    "error",
    [
        {"message": "m", "type": "insufficient_quota", "code": "insufficient_quota"},
        {"message": "m", "code": "insufficient_quota"},
        {"message": "m", "type": "exceeded_current_quota_error"},
        {"message": "m", "code": "billing_hard_limit_reached"},
        {"message": "m", "type": "billing_error"},
    ],
)
def test_a_used_up_quota_is_no_rate_limit(error: dict[str, Any]) -> None:
    """Waiting does not help, whatever the headers advise."""
    headers = {"retry-after": "1", "x-should-retry": "true"}
    found = failure(429, error, headers)
    assert type(found) is QuotaExceeded
    assert (found.retryable, found.retry_after) == (False, None)


@pytest.mark.parametrize(
    ("body", "text", "code", "kind"),
    [
        (b'{"error": {"message": "m", "code": 400}}', "m", "400", None),
        (b'{"error": {"message": "m", "code": "", "type": null}}', "m", None, None),
        (
            b'{"error": {"message": "m", "status": "INVALID_ARGUMENT"}}',
            "m",
            None,
            "INVALID_ARGUMENT",
        ),
        (b'{"error": "m"}', "m", None, None),
        (b'{"message": "m", "code": 40001}', "m", "40001", None),
        (b'{"object": "error", "message": "m", "type": "t"}', "m", None, "t"),
        (b'[{"error": {"message": "m", "code": 400}}]', "m", "400", None),
        (b'{"detail": "m"}', "m", None, None),
        (b'{"detail": [{"loc": ["a"], "msg": "m"}]}', '[{"loc":["a"],"msg":"m"}]', None, None),
        (b'{"error": {"message": "m", "metadata": {"raw": "why"}}}', "m: why", None, None),
        (b'{"error": {"message": "m", "metadata": null}}', "m", None, None),
        (b'{"error": {"code": ["x"]}}', '{"error": {"code": ["x"]}}', None, None),
        (b'{"error": null}', '{"error": null}', None, None),
        (b"Bad\n\n  gateway", "Bad gateway", None, None),
        (b"null", "null", None, None),
        (b"[]", "[]", None, None),
        (b"\xff", "\ufffd", None, None),
        (b"", "no message", None, None),
        (b"  \n", "no message", None, None),
        (
            (
                b"<!doctype html><html><head><title>x</title><style>a{}</style></head>"
                b"<body><h1>502</h1>\n<p>Bad &amp; gateway</p><script>x()</script></body></html>"
            ),
            "502 Bad &amp; gateway",
            None,
            None,
        ),
        (b"x" * 9000, "x" * 500, None, None),
        (b"[" * 9000, "[" * 500, None, None),
    ],
)
def test_bodies_of_every_kind(body: bytes, text: str, code: str | None, kind: str | None) -> None:
    """Words, code and type are found where servers put them, or the body is shown."""
    error = failure(400, body=body)
    assert str(error) == f"status 400 of openai: {text}"
    assert (error.code, error.type) == (code, kind)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "3"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "3"}, 3.0),
        ({"retry-after-ms": "-1", "retry-after": "3"}, 3.0),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00"}, 0.0),
        ({"retry-after": "Wed, 99 Oct 99999999999999 07:28:00 GMT"}, None),
    ],
)
def test_when_to_come_back(headers: dict[str, str], seconds: float | None) -> None:
    """Milliseconds win over seconds, a date that is past means now, nonsense means nothing."""
    assert failure(429, {"message": "m"}, headers).retry_after == seconds


def test_a_date_to_come_back_at() -> None:
    """An HTTP date is the seconds until then."""
    headers = {"retry-after": formatdate(time.time() + 100, usegmt=True)}
    seconds = failure(429, {"message": "m"}, headers).retry_after
    assert seconds is not None
    assert 95 < seconds <= 100


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        ("13s", 13.0),
        ("0.25s", 0.25),
        ("13", None),
        ("-1s", None),
        ("9" * 99 + "s", None),
        (3, None),
    ],
)
def test_the_time_may_stand_in_the_body(delay: object, seconds: float | None) -> None:
    """Among the details; a header comes first."""
    error = {"message": "m", "details": [{"reason": "x"}, {"retryDelay": delay}]}
    assert failure(429, error).retry_after == seconds
    assert failure(429, error, {"retry-after": "3"}).retry_after == 3.0


def test_details_say_what_a_status_does_not() -> None:
    """A quota of the day is used up; a wrong key is no bad request."""
    quota = {"violations": [{"quotaId": "RequestsPerDayPerProject"}]}
    found = failure(429, {"message": "m", "details": [quota, {"retryDelay": "3s"}]})
    assert type(found) is QuotaExceeded
    assert (found.retryable, found.retry_after) == (False, None)
    minute = {"violations": [{"quotaId": "RequestsPerMinutePerProject"}]}
    assert failure(429, {"message": "m", "details": [minute]}).retryable
    wrong = {"message": "m", "details": [{"reason": "API_KEY_INVALID"}]}
    assert type(failure(400, wrong)) is AuthenticationFailed


def test_only_what_is_retried_has_a_time() -> None:
    """Servers send the header with other statuses too."""
    assert failure(400, {"message": "m"}, {"retry-after": "3"}).retry_after is None


@pytest.mark.parametrize(
    ("status", "advice", "retryable"),
    [
        (400, "true", True),
        (429, "false", False),
        (500, "false", False),
        (503, "true", True),
        (503, "maybe", True),
    ],
)
def test_the_server_decides_about_retries(status: int, advice: str, retryable: bool) -> None:
    """`x-should-retry` is the last word."""
    headers = {"x-should-retry": advice, "retry-after": "3"}
    error = failure(status, {"message": "m"}, headers)
    assert (error.retryable, error.retry_after) == (retryable, 3.0 if retryable else None)


@pytest.mark.parametrize("said", ["Wrong key.", "Wrong key", "Wrong key. "])
def test_advice_follows_whole_sentences(said: str) -> None:
    """A server's full stop is left out, so that no error reads `.;`."""
    words = "status 401 of openai: Wrong key; check the key (api_key or OPENAI_API_KEY)"
    assert str(failure(401, {"message": said})) == words
