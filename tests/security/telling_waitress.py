"""A site of one page in a real waitress, as a Zope server runs one: it tells which requests arrived, and how."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from waitress.server import create_server


@dataclass(frozen=True)
class Arrived:
    method: str
    path: str  # as the visitor asked for it
    headers: dict[str, str]  # by their WSGI names, without HTTP_
    body: bytes


class Site:
    """`arrived` are the requests that the site was called for, in their order."""

    def __init__(self) -> None:
        self.arrived: list[Arrived] = []
        self.port = 0

    def paths(self) -> list[str]:
        return [request.path for request in self.arrived]

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read()
        headers = {name[5:]: str(value) for name, value in environ.items() if name.startswith("HTTP_")}
        path = environ["PATH_INFO"].rpartition("/VirtualHostRoot")[2]
        self.arrived.append(Arrived(environ["REQUEST_METHOD"], path, headers, body))
        start_response("200 OK", [("Content-Type", "text/plain"), ("Cache-Control", "no-store")])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [f"{path} {len(body)}\n".encode()]


@contextmanager
def serving() -> Iterator[Site]:
    """On a free port of 127.0.0.1."""
    site = Site()
    sockets: dict[int, Any] = {}
    server = create_server(site, sockets, listen="127.0.0.1:0", threads=4, clear_untrusted_proxy_headers=False)
    site.port = server.effective_port
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.trigger.pull_trigger(lambda: server.asyncore.close_all(sockets))  # which ends its loop
        thread.join()
        server.task_dispatcher.shutdown()
