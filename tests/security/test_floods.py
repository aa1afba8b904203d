"""One visitor who floods the site: the others are served meanwhile, and what it costs is bounded."""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import psutil
import pytest
from http2_client import DATA, HEADERS, PREFACE, RST_STREAM, SETTINGS, frame, literal
from running_nginx import Balancer
from telling_waitress import Site

PRIORITY, PING, WINDOW_UPDATE, CONTINUATION = 2, 6, 8, 9
CANCEL = (8).to_bytes(4, "big")
SENT_AT_MOST = 16 << 20  # bytes of a flood, where nothing ends it
MEMORY = 64 << 20  # bytes that nginx's workers may have more after it
VISITS = 20
GET = b"GET /probe HTTP/1.1\r\nHost: www.example.org\r\n"
POST = GET.replace(b"GET", b"POST") + b"Content-Length: 1000\r\n\r\n"
SLOW = 120  # connections: more than a server has threads, and waitress connections


@dataclass(frozen=True)
class Front:
    """nginx, with TLS, before a waitress of four threads."""

    port: int  # of TLS
    site: Site
    nginx: Balancer

    @contextlib.contextmanager
    def connected(self, protocol: str = "http/1.1") -> Iterator[ssl.SSLSocket]:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        tls.set_alpn_protocols([protocol])
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=60) as plain,
            tls.wrap_socket(plain, server_hostname="www.example.org") as connection,
        ):
            yield connection

    def visit(self) -> int:
        """The status of a page, asked for by somebody else."""
        with self.connected() as visitor:
            visitor.sendall(GET.replace(b"probe", b"visit") + b"Connection: close\r\n\r\n")
            return int(visitor.recv(65536).split()[1])

    def memory(self) -> int:
        """Bytes that nginx's workers have resident."""
        return sum(worker.memory_info().rss for worker in psutil.Process(self.nginx.pid).children())

    def flood(self, frames: Iterable[bytes]) -> None:
        """Over HTTP/2, until nginx ends it or all are sent; others visit the site meanwhile."""
        with self.connected("h2") as connection, contextlib.suppress(ConnectionError, ssl.SSLError):
            connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
            for number, part in enumerate(frames):
                connection.sendall(part)
                if number < VISITS:
                    assert self.visit() == 200


@pytest.fixture
def front(secure_nginx: Balancer, telling_site: Site) -> Front:
    telling_site.arrived.clear()
    return Front(secure_nginx.ssl_port, telling_site, secure_nginx)


def request(method: str = "GET") -> bytes:
    headers = [(":method", method), (":scheme", "https"), (":path", "/probe"), (":authority", "www.example.org")]
    return b"".join(literal(name, value) for name, value in headers)


def repeated(part: bytes) -> Iterator[bytes]:
    """About 8 KB at a time."""
    batch = part * max(1, 8192 // len(part))
    return itertools.repeat(batch, SENT_AT_MOST // len(batch))


def resets() -> Iterator[bytes]:
    """Requests that are cancelled as soon as they are made: CVE-2023-44487."""
    for stream in range(1, 40_000, 2):
        yield frame(HEADERS, 5, stream, request()) + frame(RST_STREAM, 0, stream, CANCEL)


def continuations() -> Iterator[bytes]:
    """Headers without an end."""
    yield frame(HEADERS, 1, 1, request())
    yield from repeated(frame(CONTINUATION, 0, 1, literal("x-more", "x" * 1000)))


def empty_continuations() -> Iterator[bytes]:
    yield frame(HEADERS, 1, 1, request())
    yield from repeated(frame(CONTINUATION, 0, 1, b""))


def empty_data() -> Iterator[bytes]:
    """A body without an end, and without a byte."""
    yield frame(HEADERS, 4, 1, request("POST"))
    yield from repeated(frame(DATA, 0, 1, b""))


FLOODS: dict[str, Callable[[], Iterator[bytes]]] = {
    "rapid reset": resets,
    "CONTINUATION": continuations,
    "empty CONTINUATION": empty_continuations,
    "empty DATA": empty_data,
    "SETTINGS": lambda: repeated(frame(SETTINGS, 0, 0, b"\0\3\0\0\0\x64")),
    "PING": lambda: repeated(frame(PING, 0, 0, b"12345678")),
    "PRIORITY": lambda: repeated(frame(PRIORITY, 0, 1001, b"\0\0\0\0\x10")),
    "WINDOW_UPDATE": lambda: repeated(frame(WINDOW_UPDATE, 0, 0, (1).to_bytes(4, "big"))),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_over_http2_keeps_nobody_out_and_costs_no_memory(front: Front, name: str) -> None:
    before = front.memory()
    front.flood(FLOODS[name]())
    assert front.visit() == 200
    assert front.memory() - before < MEMORY
    probes = [path for path in front.site.paths() if path == "/probe"]
    assert len(probes) < 1000, "nginx ends it before it has reached the site often"


@pytest.mark.parametrize(
    "begun", [b"", GET, GET + b"X: x", POST, POST + b"x" * 10], ids=["idle", "headers", "a header", "no body", "a body"]
)
def test_connections_that_never_come_to_an_end_keep_nobody_out_and_do_not_reach_the_site(
    front: Front, begun: bytes
) -> None:
    with contextlib.ExitStack() as held:
        for _ in range(SLOW):
            slow = held.enter_context(front.connected())
            slow.sendall(begun)
        assert {front.visit() for _ in range(VISITS)} == {200}
        assert "/probe" not in front.site.paths()


def test_answers_that_nobody_reads_keep_nobody_out(front: Front) -> None:
    with contextlib.ExitStack() as held:
        for _ in range(SLOW):
            slow = held.enter_context(front.connected())
            slow.sendall((GET + b"\r\n") * 20)
        assert {front.visit() for _ in range(VISITS)} == {200}
