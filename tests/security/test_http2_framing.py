"""What an HTTP/2 request can hold that HTTP/1 cannot: it is refused, or one request of the same words to the server."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass

import pytest
from http2_client import DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, frame, literal, read_answer
from running_nginx import Balancer
from telling_waitress import Site

PADDED = 0x8
SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: www.example.org\r\n\r\n"
BODY = b"abc"


def block(
    *headers: tuple[str, str], without: str = "", method: str = "POST", scheme: str = "https", path: str = "/probe"
) -> bytes:
    pseudo = [(":method", method), (":scheme", scheme), (":path", path), (":authority", "www.example.org")]
    named = {name for name, _ in headers if name == ":authority"}
    fields = [field for field in pseudo if field[0] != without and field[0] not in named]
    return b"".join(literal(name, value) for name, value in [*fields, *headers])


def post(headers: bytes, body: bytes = BODY) -> bytes:
    return frame(HEADERS, END_HEADERS, 1, headers) + frame(DATA, END_STREAM, 1, body)


def get(headers: bytes, flags: int = END_HEADERS | END_STREAM, stream: int = 1) -> bytes:
    return frame(HEADERS, flags, stream, headers)


REFUSED = {
    "a shorter length": post(block(("content-length", "1"))),
    "a longer length": post(block(("content-length", "100"))),
    "two lengths": post(block(("content-length", "3"), ("content-length", "0"))),
    "a length with a plus": post(block(("content-length", "+3"))),
    "chunks, and a length of the first": post(block(("transfer-encoding", "chunked"), ("content-length", "0"))),
    "CR LF in a value": post(block(("x-a", "a\r\ntransfer-encoding: chunked"))),
    "LF in a value": post(block(("x-a", "a\ntransfer-encoding: chunked"))),
    "CR in a value": post(block(("x-a", "a\rb"))),
    "NUL in a value": post(block(("x-a", "a\0b"))),
    "CR LF in a cookie": post(block(("cookie", "a=b"), ("cookie", "c=d\r\nx-a: b"))),
    "CR LF in a name": post(block(("x-a: b\r\ntransfer-encoding", "chunked"))),
    "a colon in a name": post(block(("x-a:b", "c"))),
    "a space in a name": post(block(("x a", "c"))),
    "a capital in a name": post(block(("X-A", "b"))),
    "no name": post(block(("", "b"))),
    "a request in the path": post(block(path=f"/probe HTTP/1.1\r\n\r\n{SMUGGLED}")),
    "a header in the path": post(block(path="/probe HTTP/1.1\r\nx-a: b")),
    "a space in the path": post(block(path="/pro be")),
    "a path without a slash": post(block(path="probe")),
    "an empty path": post(block(path="")),
    "an address as a path": post(block(path="https://evil.example/probe")),
    "a request in the method": post(block(method=f"{SMUGGLED}POST")),
    "a method in small letters": post(block(method="post")),
    "no letter in the method": post(block(method="")),
    "an address as a scheme": post(block(scheme="https://evil.example/x?")),
    "CR LF in the authority": post(block((":authority", "www.example.org\r\nx-real-ip: 192.0.2.1"))),
    "a user in the authority": post(block((":authority", "a@www.example.org"))),
    "a path in the authority": post(block((":authority", "www.example.org/x"))),
    "another host": post(block(("host", "evil.example"))),
    "two authorities": post(block((":authority", "www.example.org"), (":authority", "evil.example"))),
    "two paths": post(block((":path", "/smuggled"))),
    "an unknown pseudo header": post(block((":frob", "x"))),
    "CONNECT": post(block(method="CONNECT")),
    "CONNECT for a web socket": post(block((":protocol", "websocket"), method="CONNECT")),
    **{f"no {name}": post(block(without=name)) for name in (":method", ":scheme", ":path", ":authority")},
    "a path in the trailers": post(block())[: -9 - len(BODY)] + get(literal(":path", "/smuggled")),
    "a length in the trailers": post(block())[: -9 - len(BODY)] + get(literal("content-length", "99")),
    "a stream of the server's": get(block(path="/smuggled"), stream=2),
    "the connection's stream": get(block(path="/smuggled"), stream=0),
    "padding beyond the frame": get(b"\xff" + block(), END_HEADERS | PADDED),
    "a broken Huffman code": get(block() + b"\x10\x81\xff\x01a"),
    "an index beyond the table": get(block() + b"\xff\xff\xff\x7f"),
}
# One nginx refuses it, another one hears one request; with what body.
ONE_OR_NONE = {
    "one length twice": (post(block(("content-length", "3"), ("content-length", "3"))), BODY),
    "chunks": (post(block(("transfer-encoding", "chunked")), f"0\r\n\r\n{SMUGGLED}".encode()), None),
    "a connection's header": (post(block(("connection", "close"))), BODY),
    "an upgrade": (post(block(("upgrade", "h2c"))), BODY),
    "another transfer coding": (post(block(("te", "gzip"))), BODY),
    "a pseudo header behind a header": (post(block(("x-a", "b"), (":path", "/probe"), without=":path")), BODY),
    "data behind the end": (get(block()) + frame(DATA, END_STREAM, 1, SMUGGLED.encode()), b""),
    "a second request on a stream": (get(block()) + get(block(path="/smuggled")), b""),
    "a header of 15 KB": (post(block(("x-a", "a" * 15_000))), BODY),
}


@dataclass(frozen=True)
class Front:
    """nginx, with TLS, before a waitress."""

    port: int
    site: Site

    def status(self, frames: bytes) -> int:
        """0: the stream or the connection was ended."""
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        tls.set_alpn_protocols(["h2"])
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=30) as plain,
            tls.wrap_socket(plain, server_hostname="www.example.org") as connection,
        ):
            connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b"") + frames)
            return read_answer(connection).status


@pytest.fixture
def front(secure_nginx: Balancer, telling_site: Site) -> Front:
    """What the probe before has left on its way has arrived."""
    front = Front(secure_nginx.ssl_port, telling_site)
    assert front.status(post(block(path="/before"))) == 200
    telling_site.arrived.clear()
    return front


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused(front: Front, name: str) -> None:
    assert front.status(REFUSED[name]) in (0, 400, 405)
    assert front.status(post(block(path="/after"))) == 200
    assert front.site.paths() == ["/after"]


@pytest.mark.parametrize("name", ONE_OR_NONE)
def test_it_is_one_request_or_none(front: Front, name: str) -> None:
    frames, body = ONE_OR_NONE[name]
    front.status(frames)
    assert front.status(post(block(path="/after"))) == 200
    *heard, after = front.site.arrived
    assert after.path == "/after"
    assert [request.path for request in heard] in ([], ["/probe"])
    assert body is None or [request.body for request in heard] in ([], [body])
