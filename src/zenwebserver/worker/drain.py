"""waitress that can leave: it takes nothing new, finishes what it accepted, and breaks no connection in use.

The listening socket may be shared with a successor, so leaving only takes it out of this process.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher, WSGITask

logger = logging.getLogger(__name__)

# waitress counts idle keep-alive connections too; nginx's keep-alive stays far below this (see nginx-zope.conf).
CONNECTION_LIMIT = 1000
# Seconds; longer than nginx keeps an idle connection to us (4 s), so that nginx is always the one to close it.
IDLE_TIMEOUT = 120
IDLE_TIMEOUT_WHEN_LEAVING = 6


@dataclass(frozen=True)
class Running:
    """A request that a thread is working on."""

    what: str  # "GET /path"
    since: float  # seconds, time.monotonic(): a clock that is set makes no request seem to hang
    thread: int


class Task(WSGITask):  # type: ignore[misc]
    """One request; says who works on it, and closes the connection behind it when the server is leaving."""

    def execute(self) -> None:
        ident = threading.get_ident()
        running = self.channel.server.running
        running[ident] = Running(f"{self.request.command} {self.request.path}", time.monotonic(), ident)
        try:
            super().execute()
        finally:
            del running[ident]
            self.channel.server.requests += 1

    def build_response_header(self) -> bytes:
        if not self.channel.server.accepting:
            self.set_close_on_finish()
        header: bytes = super().build_response_header()
        return header


class Channel(HTTPChannel):  # type: ignore[misc]
    task_class = Task

    def is_idle(self) -> bool:
        return not (self.requests or self.request or self.total_outbufs_len)


class WaitressEngine(TcpWSGIServer):  # type: ignore[misc]
    """States: made, accepting (`accept_connections`), resting (`rest`), leaving (`leave`), gone (`run` returns).

    All these calls belong to the loop's thread.
    """

    channel_class = Channel
    accepting: bool

    def __init__(self, application: Any, listener: socket.socket, threads: int) -> None:
        adjustments = Adjustments(
            threads=threads,
            connection_limit=CONNECTION_LIMIT,
            channel_timeout=IDLE_TIMEOUT,
            asyncore_use_poll=True,
            # nginx is the only client that can reach us; it overwrites these headers.
            trusted_proxy="127.0.0.1",
            trusted_proxy_headers={"x-forwarded-for", "x-forwarded-proto"},
        )
        dispatcher = ThreadedTaskDispatcher()
        dispatcher.set_thread_count(threads)
        self.running: dict[int, Running] = {}
        self.requests = 0  # answered so far
        self.leaving = False
        self._deadline: float | None = None
        super().__init__(
            application,
            map={},
            _start=False,
            _sock=listener,
            dispatcher=dispatcher,
            adj=adjustments,
            sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
            bind_socket=False,
        )

    def rest(self) -> None:
        """Take nothing new for now, and close the connections behind what is answered; a successor serves."""
        if self.accepting:
            self.accepting = False
            self.del_channel(self._map)
            self.socket.close()

    def accept_again(self, listener: socket.socket) -> None:
        """Serve `listener` from now on: the trial is over, or the successor did not hold."""
        if not self.accepting and not self.leaving:
            listener.setblocking(False)
            self.set_socket(listener, self._map)
            self.effective_host, self.effective_port = self.getsockname()
            self.accept_connections()

    def leave(self, timeout: float) -> None:
        """Take nothing new; `run` returns when all is answered, or after `timeout` seconds."""
        if self.leaving:
            return
        self.rest()
        self.leaving = True
        self._deadline = time.monotonic() + timeout

    def call(self, function: Any, *arguments: Any) -> None:
        """Have the loop's thread call `function`; from any thread."""
        self.trigger.pull_trigger(lambda: function(*arguments))

    def run(self) -> None:
        while not self._is_gone():
            wasyncore.loop(timeout=1, use_poll=True, map=self._map, count=1)
        for request in self.cut_off():
            logger.warning(
                "Cut off after the drain timeout: %s, running for %.0f s",
                request.what,
                time.monotonic() - request.since,
            )

    def cut_off(self) -> list[Running]:
        """The requests that are still running."""
        return sorted(self.running.values(), key=lambda request: request.since)

    def _is_gone(self) -> bool:
        if not self.leaving:
            return False
        idle_since = time.time() - IDLE_TIMEOUT_WHEN_LEAVING
        for channel in list(self.active_channels.values()):
            if channel.is_idle() and channel.last_activity < idle_since:
                channel.will_close = True
        assert self._deadline is not None
        return not self.active_channels or time.monotonic() > self._deadline
