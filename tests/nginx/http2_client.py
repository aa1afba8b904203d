"""Just enough of HTTP/2 (RFC 9113) to send what no library would, and to read a status and a body."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY = 0, 1, 3, 4, 7
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
LARGEST_FRAME = 16384  # bytes, as long as nobody has said otherwise
# HPACK's static table (RFC 7541, appendix A), from 8 on: what nginx says with one byte.
STATUS = {0x80 | 8 + n: status for n, status in enumerate((200, 204, 206, 304, 400, 404, 500))}


@dataclass(frozen=True)
class Answer:
    status: int  # 0: the stream or the connection was ended without one
    body: bytes = b""

    @property
    def text(self) -> str:
        return self.body.decode()


def ask(
    address: tuple[str, int],
    tls: ssl.SSLContext,
    target: str = "/",
    headers: Iterable[tuple[str, str]] = (),
    *,
    method: str = "GET",
    body: bytes | None = None,
    host: str = "www.example.org",
) -> Answer:
    """The answer to one request. A `body` comes without content-length; b"" is one frame of no bytes."""
    pseudo = [(":method", method), (":scheme", "https"), (":path", target), (":authority", host)]
    block = b"".join(literal(name, value) for name, value in [*pseudo, *headers])
    ends = 0 if body is not None else END_STREAM
    request = frame(HEADERS, END_HEADERS | ends, 1, block)
    if body is not None:
        parts = [body[start : start + LARGEST_FRAME] for start in range(0, len(body), LARGEST_FRAME)] or [b""]
        request += b"".join(frame(DATA, 0, 1, part) for part in parts[:-1])
        request += frame(DATA, END_STREAM, 1, parts[-1])
    tls.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(address, timeout=30) as plain,
        tls.wrap_socket(plain, server_hostname=host) as connection,
    ):
        assert connection.selected_alpn_protocol() == "h2"
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b"") + request)
        return read_answer(connection)


def read_answer(connection: ssl.SSLSocket) -> Answer:
    status, body = 0, b""
    with connection.makefile("rb") as frames:
        while head := frames.read(9):
            payload = frames.read(int.from_bytes(head[:3], "big"))
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
            if kind == SETTINGS and not flags & ACK:
                connection.sendall(frame(SETTINGS, ACK, 0, b""))
            if kind == GOAWAY or (kind == RST_STREAM and stream == 1):
                break
            if stream != 1 or kind not in (DATA, HEADERS):
                continue
            if kind == HEADERS:
                status = _status(payload)
            else:
                body += payload
            if flags & END_STREAM:
                break
    return Answer(status, body)


def _status(block: bytes) -> int:
    """nginx says it first: one byte, or three digits as they are behind the name's index."""
    while block[0] & 0xE0 == 0x20:  # a change of the table's size
        block = block[1:]
    if block[0] in STATUS:
        return STATUS[block[0]]
    assert block[0] & 0x0F == 8, block[:8]
    assert block[1] == 3, block[:8]
    return int(block[2:5])


def literal(name: str, value: str) -> bytes:
    """Never indexed, without Huffman's code; bytes as they are."""
    return b"\x10" + b"".join(_length(len(text)) + text for text in (name.encode("latin-1"), value.encode("latin-1")))


def _length(number: int) -> bytes:
    """An integer with a prefix of 7 bits."""
    if number < 127:
        return bytes([number])
    number -= 127
    encoded = b"\x7f"
    while number >= 128:
        encoded += bytes([number % 128 | 128])
        number //= 128
    return encoded + bytes([number])


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
