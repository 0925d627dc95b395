"""Networks that break, lie or are not there, over real sockets that never leave this machine."""

import asyncio
import contextlib
import datetime as dt
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from agent.engine.http import transport
from agent.errors import ConfigurationError, ConnectionFailed, ProviderTimeout
from tests.engine.gates import SOON
from tests.engine.ways import KEY, agent_at, ended, failed, log_without_key, take, way
from tests.fakes.raw_server import (
    DONE,
    END,
    STOP,
    STREAM,
    Act,
    Peer,
    RawServer,
    answer,
    chunk,
    completion,
    delta,
    mute,
    reset,
    resetting,
    saying,
)

__all__ = ["log_without_key", "way"]

HI = delta(b'"Hi"')
GOOD = saying(answer(completion(b'{"content":"Hi"}')))


# Connections


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of this machine where nobody listens, and nobody can."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_nobody_listens(way: str, closed_port: int):
    """A refused connection may be a server that is starting."""
    error = failed(f"http://127.0.0.1:{closed_port}/v1", way, ConnectionFailed)

    assert str(error).startswith("openai could not be reached; check base_url and network: ")
    assert "refused" in str(error) or "Connect call failed" in str(error)
    assert error.retryable


def test_an_address_that_swallows_everything(way: str):
    """A connection that is not even refused is waited for ten seconds at most."""
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # a queue that is full answers nobody
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        error = failed(url, way, ProviderTimeout, timeout=0.1)

    assert str(error) == "openai could not be reached in time; check base_url and network"
    assert error.retryable


def test_a_host_without_an_address(way: str):
    """A name that does not resolve is told apart, without a long wait."""
    error = failed("http://nowhere.invalid/v1", way, ConnectionFailed)

    assert str(error).startswith("openai could not be found: ")
    assert str(error).endswith("; check the host in base_url, and the network")
    assert error.retryable


@pytest.mark.parametrize(
    "act",
    [
        resetting(),
        resetting(b"HTTP/1.1 200 OK\r\nx-a"),
        resetting(STREAM, chunk(HI)),
        saying(),
        saying(b"HTTP/1.1 200 OK\r\nx-a"),
    ],
    ids=["before", "in headers", "in the body", "closed", "closed in headers"],
)
def test_a_connection_that_breaks(way: str, act: Act):
    """Wherever it breaks, it is named and may go better next time."""
    with RawServer(act) as server:
        error = failed(server, way, ConnectionFailed)

    assert str(error).startswith("openai broke the connection: ")
    assert str(error).endswith("; try again, and check base_url (http or https?) if it stays so")
    assert error.retryable


def test_a_connection_that_is_reset_at_once(way: str):
    """It may look as if nobody listened, or as if the connection broke."""
    with RawServer(reset) as server:
        assert failed(server, way, ConnectionFailed).retryable


def test_a_connection_that_works_again(way: str):
    """A broken attempt is made again while nothing of its answer was seen."""
    good = saying(STREAM, chunk(HI + STOP + DONE), END) if "stream" in way else GOOD
    with (
        RawServer(resetting(b"HTTP/1.1 200 OK\r\n"), good) as server,
        agent_at(server.base_url, max_retries=1) as agent,
    ):
        assert take(agent.session(), way).text == "Hi"
        assert len(server.peers) == 2


# TLS


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Somebody who signs certificates."""
    return trustme.CA()


@pytest.fixture
def trusted(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """The authority is named in the environment."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    transport._tls.cache_clear()
    yield
    transport._tls.cache_clear()


def tls(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """A server's side of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.mark.usefixtures("trusted")
def test_an_authority_of_ones_own(way: str, authority: trustme.CA):
    """A server is trusted whose authority SSL_CERT_FILE names."""
    good = saying(STREAM, chunk(HI + STOP + DONE), END) if "stream" in way else GOOD
    with (
        RawServer(good, tls=tls(authority.issue_cert("127.0.0.1"))) as server,
        agent_at(server.base_url, deadline=60) as agent,
    ):
        assert take(agent.session(), way).text == "Hi"


def check_untrusted(error: ConnectionFailed, words: str) -> None:
    """The error says what is wrong with the certificate; another attempt would not help."""
    assert str(error).startswith("openai has a certificate that is not trusted: ")
    assert words in str(error)
    assert str(error).endswith(
        "; check base_url, or name the file of your own authority in SSL_CERT_FILE"
    )
    assert not error.retryable


def test_a_certificate_that_nobody_trusts(way: str, authority: trustme.CA):
    """A certificate signed by oneself."""
    with RawServer(GOOD, tls=tls(authority.issue_cert("127.0.0.1"))) as server:
        check_untrusted(failed(server, way, ConnectionFailed), "certificate")


@pytest.mark.usefixtures("trusted")
def test_a_certificate_of_another_host(way: str, authority: trustme.CA):
    """A certificate for another name."""
    with RawServer(GOOD, tls=tls(authority.issue_cert("example.org"))) as server:
        check_untrusted(failed(server, way, ConnectionFailed), "not valid for '127.0.0.1'")


@pytest.mark.usefixtures("trusted")
def test_a_certificate_that_has_expired(way: str, authority: trustme.CA):
    """A certificate of the past."""
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    expired = authority.issue_cert(
        "127.0.0.1", not_before=past, not_after=past + dt.timedelta(days=1)
    )
    with RawServer(GOOD, tls=tls(expired)) as server:
        check_untrusted(failed(server, way, ConnectionFailed), "expired")


def test_https_to_a_server_without_tls(way: str):
    """The wrong scheme is named; another attempt would not help."""

    def act(peer: Peer) -> None:
        peer.connection.recv(1000)
        peer.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

    with RawServer(act) as server:
        url = server.base_url.replace("http:", "https:")
        error = failed(url, way, ConnectionFailed)

    assert str(error).startswith("openai does not speak TLS here: ")
    assert str(error).endswith("; check base_url (http or https?)")
    assert not error.retryable


def test_http_to_a_server_with_tls(way: str, authority: trustme.CA):
    """The connection breaks, and the words name the scheme."""
    with RawServer(GOOD, tls=tls(authority.issue_cert("127.0.0.1"))) as server:
        url = server.base_url.replace("https:", "http:")
        error = failed(url, way, ConnectionFailed)

    assert str(error).endswith("; try again, and check base_url (http or https?) if it stays so")


@pytest.mark.parametrize("limit", ["timeout", "deadline"])
def test_a_handshake_that_is_not_answered(way: str, limit: str):
    """It is waited for ten seconds at most, and never longer than the limits."""
    with RawServer(mute) as server:
        url = server.base_url.replace("http:", "https:")
        error = failed(url, way, ProviderTimeout, **{limit: 0.3})
        assert server.hung_up.wait(60)

    assert "could not be reached in time" in str(error) or limit == "deadline"


def test_a_handshake_that_is_cancelled():
    """A cancelled task gives its connection up, also before it was a connection."""
    begun = threading.Event()

    def act(peer: Peer) -> None:
        peer.connection.recv(1)
        begun.set()
        peer.connection.settimeout(SOON)
        while peer.connection.recv(65536):
            pass
        raise ConnectionResetError

    async def main(url: str) -> None:
        task = asyncio.ensure_future(agent_at(url).session().run_async("Hi"))
        await asyncio.to_thread(begun.wait, SOON)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert await asyncio.to_thread(server.hung_up.wait, SOON)

    with RawServer(act) as server:
        asyncio.run(main(server.base_url.replace("http:", "https:")))


def test_a_certificate_file_that_is_missing(way: str, monkeypatch: pytest.MonkeyPatch):
    """The variable is named before anything is sent."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/authority.pem")
    transport._tls.cache_clear()
    error = failed("https://127.0.0.1:1/v1", way, ConfigurationError)
    transport._tls.cache_clear()

    assert "check SSL_CERT_FILE" in str(error)


# Proxies


def test_a_proxy_that_is_not_there(way: str, closed_port: int, monkeypatch: pytest.MonkeyPatch):
    """The words name the variables that set it."""
    monkeypatch.setenv("HTTP_PROXY", f"http://user:{KEY}@127.0.0.1:{closed_port}")
    error = failed("http://127.0.0.1:1/v1", way, ConnectionFailed)

    assert "check base_url and network, and the proxy (HTTPS_PROXY and its like): " in str(error)
    assert error.retryable


def test_a_proxy_that_refuses(way: str, monkeypatch: pytest.MonkeyPatch):
    """Its words are told."""
    with RawServer(saying(b"HTTP/1.1 407 Who are you?\r\n\r\n")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        error = failed("https://127.0.0.1:1/v1", way, ConnectionFailed)

    assert str(error) == (
        "openai could not be reached: the proxy said 407 Who are you?; "
        "check HTTPS_PROXY and its like"
    )


@pytest.mark.parametrize("proxy", ["gopher://127.0.0.1", "http://127.0.0.1:port", "socks5://x"])
def test_a_proxy_that_is_none(way: str, proxy: str, monkeypatch: pytest.MonkeyPatch):
    """The variable is named before anything is sent."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    error = ended("https://127.0.0.1:1/v1", way)

    assert type(error) is ConfigurationError
    assert "HTTPS_PROXY" in str(error)
