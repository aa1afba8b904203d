"""Where one request ends and the next begins: nginx and a server are of one mind, or nginx refuses.

Each probe is followed by a well-formed request on the same connection. Where the site saw another one, somebody else's
answer, or a page of management, could be had by a visitor.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass

import pytest
from running_nginx import Balancer
from telling_waitress import Site

HOST = b"Host: www.example.org\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: www.example.org\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
NEXT = b"GET /next HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"


@dataclass(frozen=True)
class Sent:
    """`body` is what the site hears with it; None: it is refused. `either`: refused by one nginx, heard by another."""

    raw: bytes
    body: bytes | None = None
    either: bool = False


def post(headers: bytes, body: bytes = b"", *, line: bytes = b"POST /probe HTTP/1.1") -> bytes:
    return line + b"\r\n" + HOST + headers + b"\r\n" + body


def get(headers: bytes = b"", body: bytes = b"", *, line: bytes = b"GET /probe HTTP/1.1") -> bytes:
    return post(headers, body, line=line)


def length(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n" % len(body)


TWO_IN_ONE = LAST_CHUNK + SMUGGLED
ONE_CHUNK = b"%x\r\n%s\r\n%s" % (len(SMUGGLED), SMUGGLED, LAST_CHUNK)
ABC = b"3\r\nabc\r\n" + LAST_CHUNK

PROBES = {
    # Two lengths.
    "a length, and chunks": Sent(post(length(TWO_IN_ONE) + CHUNKED, TWO_IN_ONE)),
    "chunks, and a length": Sent(post(CHUNKED + b"Content-Length: 4\r\n", ONE_CHUNK)),
    "a length twice": Sent(post(b"Content-Length: 3\r\nContent-Length: 3\r\n", b"abc")),
    "two lengths": Sent(post(b"Content-Length: 3\r\n" + length(b"abc" + SMUGGLED), b"abc" + SMUGGLED)),
    "a list of lengths": Sent(post(b"Content-Length: 3, 3\r\n", b"abc")),
    "a length by an underscore": Sent(post(b"Content_Length: 0\r\n" + length(SMUGGLED), SMUGGLED), SMUGGLED),
    # Lengths that two parsers read as two numbers.
    "plus": Sent(post(b"Content-Length: +3\r\n", b"abc")),
    "minus": Sent(post(b"Content-Length: -3\r\n", b"abc")),
    "hexadecimal": Sent(post(b"Content-Length: 0x3\r\n", b"abc")),
    "empty": Sent(post(b"Content-Length:\r\n", SMUGGLED)),
    "beyond 64 bits": Sent(post(b"Content-Length: 18446744073709551619\r\n", b"abc" + SMUGGLED)),
    "two numbers": Sent(post(b"Content-Length: 3 5\r\n", b"abc" + SMUGGLED)),
    "leading zeros": Sent(post(b"Content-Length: 0000003\r\n", b"abc"), b"abc"),
    # Chunks by another name.
    "identity": Sent(post(b"Transfer-Encoding: identity\r\n", SMUGGLED)),
    "another coding": Sent(post(b"Transfer-Encoding: xchunked\r\n", TWO_IN_ONE)),
    "chunked, then identity": Sent(post(b"Transfer-Encoding: chunked, identity\r\n", TWO_IN_ONE)),
    "gzip, then chunked": Sent(post(b"Transfer-Encoding: gzip, chunked\r\n", TWO_IN_ONE)),
    "two codings": Sent(post(CHUNKED + b"Transfer-Encoding: identity\r\n", TWO_IN_ONE)),
    "a space before the colon": Sent(post(b"Transfer-Encoding : chunked\r\n" + length(TWO_IN_ONE), TWO_IN_ONE)),
    "a tab behind the colon": Sent(post(b"Transfer-Encoding:\tchunked\r\n", LAST_CHUNK)),
    "a vertical tab": Sent(post(b"Transfer-Encoding: \x0bchunked\r\n" + length(TWO_IN_ONE), TWO_IN_ONE)),
    "behind a bare CR": Sent(post(b"X: x\rTransfer-Encoding: chunked\r\n" + length(TWO_IN_ONE), TWO_IN_ONE)),
    "in quotes": Sent(post(b'Transfer-Encoding: "chunked"\r\n', TWO_IN_ONE)),
    "by an underscore": Sent(post(b"Transfer_Encoding: chunked\r\n" + length(TWO_IN_ONE), TWO_IN_ONE), TWO_IN_ONE),
    "in HTTP/1.0": Sent(post(CHUNKED, TWO_IN_ONE, line=b"POST /probe HTTP/1.0")),
    "in another case": Sent(post(b"transfer-ENCODING: Chunked\r\n", ABC), b"abc"),
    # Chunks.
    "an extension": Sent(post(CHUNKED, b"3;a=b\r\nabc\r\n" + LAST_CHUNK), b"abc"),
    "a line feed in an extension": Sent(post(CHUNKED, b"3;a\nx\r\nabc\r\n" + LAST_CHUNK)),
    "a size in hexadecimal notation": Sent(post(CHUNKED, b"0x3\r\nabc\r\n" + TWO_IN_ONE)),
    "a size with a plus": Sent(post(CHUNKED, b"+3\r\nabc\r\n" + TWO_IN_ONE)),
    "a size with a minus": Sent(post(CHUNKED, b"-3\r\nabc\r\n" + TWO_IN_ONE)),
    "a size beyond 64 bits": Sent(post(CHUNKED, b"f" * 17 + b"\r\nabc\r\n" + TWO_IN_ONE)),
    "more than its size": Sent(post(CHUNKED, b"2\r\nabc\r\n" + TWO_IN_ONE)),
    "chunks ended by line feeds": Sent(post(CHUNKED, b"3\nabc\n0\n\n"), b"abc", either=True),
    "trailers": Sent(post(CHUNKED, b"3\r\nabc\r\n0\r\nContent-Length: 99\r\nX-Real-IP: 192.0.2.1\r\n\r\n"), b"abc"),
    # Lines.
    "a folded line": Sent(post(b"X: x\r\n Content-Length: 3\r\n")),
    "a length on a folded line": Sent(post(b"Content-Length:\r\n 3\r\n", b"abc")),
    "a fold before the first header": Sent(b"GET /probe HTTP/1.1\r\n " + HOST + b"\r\n"),
    "a bare CR": Sent(post(b"X: x\rY: y\r\nContent-Length: 0\r\n")),
    "bare line feeds": Sent(post(length(b"abc"), b"abc").replace(b"\r\n", b"\n"), b"abc"),
    "one bare line feed": Sent(post(b"X: x\n" + length(b"abc"), b"abc"), b"abc"),
    "NUL in a header": Sent(post(b"X: a\0b\r\nContent-Length: 0\r\n")),
    "NUL in the path": Sent(get(line=b"GET /a\0b HTTP/1.1")),
    "a control character in a name": Sent(post(b"X\x01: x\r\nContent-Length: 0\r\n")),
    "a space in a name": Sent(post(b"X Y: x\r\nContent-Length: 0\r\n")),
    "no name": Sent(post(b": x\r\nContent-Length: 0\r\n")),
    "no colon": Sent(post(b"Garbage\r\nContent-Length: 0\r\n"), b""),
    "a header of 70 KB": Sent(get(b"X: " + b"x" * 70_000 + b"\r\n")),
    "a path of 70 KB": Sent(get(line=b"GET /" + b"x" * 70_000 + b" HTTP/1.1")),
    "no host": Sent(b"GET /probe HTTP/1.1\r\n\r\n"),
    # Methods and versions.
    "a body with GET": Sent(get(length(SMUGGLED), SMUGGLED), SMUGGLED),
    "chunks with GET": Sent(get(CHUNKED, ONE_CHUNK), SMUGGLED),
    "a body with HEAD": Sent(get(length(SMUGGLED), SMUGGLED, line=b"HEAD /probe HTTP/1.1"), SMUGGLED),
    "100-continue": Sent(post(b"Expect: 100-continue\r\n" + length(b"abc"), b"abc"), b"abc"),
    "another expectation": Sent(post(b"Expect: 200-ok\r\n" + length(b"abc"), b"abc"), b"abc"),
    "CONNECT": Sent(get(line=b"CONNECT www.example.org:80 HTTP/1.1")),
    "TRACE": Sent(get(line=b"TRACE /probe HTTP/1.1")),
    "a method in small letters": Sent(get(line=b"get /probe HTTP/1.1")),
    "HTTP/2.0 in words": Sent(get(line=b"GET /probe HTTP/2.0")),
    "HTTP/9.9": Sent(get(line=b"GET /probe HTTP/9.9")),
    "the preface of HTTP/2": Sent(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    # An upgrade that nginx does not make is none for the server either.
    "to h2c": Sent(get(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"), b""),
    "to a web socket": Sent(get(b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"), b""),
}


@dataclass(frozen=True)
class Front:
    """nginx before a waitress."""

    port: int
    site: Site

    def answers(self, raw: bytes) -> list[int]:
        """The status of each answer that came on one connection, but for 100."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(raw)
            received = b""
            while part := _part(connection):
                received += part
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", received) if status != b"100"]


def _part(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except ConnectionResetError:  # nginx had refused it before all had come
        return b""


@pytest.fixture
def front(plain_nginx: Balancer, telling_site: Site) -> Front:
    telling_site.arrived.clear()
    return Front(plain_nginx.port, telling_site)


@pytest.mark.parametrize("name", PROBES)
def test_a_request_is_one_to_nginx_and_to_the_server_or_none(front: Front, name: str) -> None:
    probe = PROBES[name]
    answers = front.answers(probe.raw + NEXT)
    arrived = [(request.path, request.body) for request in front.site.arrived]
    if probe.body is None or (probe.either and not arrived):
        assert arrived == []
        assert [status // 100 in (4, 5) for status in answers] == [True], answers
    else:
        assert arrived == [("/probe", probe.body), ("/next", b"")]
        assert answers == [200, 200]


def test_a_connection_that_names_headers_takes_none_of_ours_from_the_server(front: Front) -> None:
    names = b"Connection: close, Host, X-Forwarded-For, X-Forwarded-Proto, X-Real-IP\r\n"
    assert front.answers(get(names)) == [200]
    (request,) = front.site.arrived
    assert request.headers["HOST"] == f"www.example.org:{front.port}"
    assert request.headers["X_FORWARDED_FOR"] == "127.0.0.1"


def test_an_upgrade_is_not_named_to_the_server(front: Front) -> None:
    for name in ("to h2c", "to a web socket"):
        front.answers(PROBES[name].raw + NEXT)
    assert len(front.site.arrived) == 4
    assert [request for request in front.site.arrived if {"UPGRADE", "CONNECTION"} & request.headers.keys()] == []


def test_without_a_version_nothing_follows_on_the_connection(front: Front) -> None:
    """HTTP/0.9, which ends with the connection."""
    front.answers(b"GET /probe\r\n" + NEXT)
    assert front.site.paths() == ["/probe"]
