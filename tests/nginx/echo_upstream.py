"""A small HTTP server in a Zope server's place: it tells what reached it, or answers as a test wants."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Request:
    method: str
    path: str  # as sent
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def visitors_path(self) -> str:
        """What stands behind the virtual root."""
        return self.path.partition("/VirtualHostRoot")[2]


@dataclass(frozen=True)
class Response:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


Answer = Callable[[Request], Response]


def echo(request: Request) -> Response:
    seen = {
        "method": request.method,
        "path": request.path,
        "headers": request.headers,
        "size": len(request.body),
    }
    return Response(200, {"Content-Type": "application/json"}, json.dumps(seen).encode())


class Upstream:
    """The requests that arrived, and what to answer the next ones."""

    def __init__(self) -> None:
        self.answer: Answer = echo
        self.requests: list[Request] = []
        self.port = 0

    def paths(self) -> list[str]:
        return [request.visitors_path for request in self.requests]


class _Server(ThreadingHTTPServer):
    block_on_close = False  # nginx keeps its idle connections; the threads are daemons
    upstream: Upstream

    def handle_error(self, request: object, client_address: object) -> None:
        """A test's nginx may end in the middle of an answer."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    timeout = 30

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, body)
        self.server.upstream.requests.append(request)
        response = self.server.upstream.answer(request)
        self.send_response_only(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if response.status != 304:
            self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        if self.command != "HEAD" and response.status != 304:
            self.wfile.write(response.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PROPFIND = _handle

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Upstream]:
    """An upstream on a free port of 127.0.0.1."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.upstream = Upstream()
    server.upstream.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.upstream
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def refusing() -> Iterator[int]:
    """A port that is taken, so nobody else gets it, and refuses connections."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
