"""One Zope server: boots the site, serves it on the listening socket that it is given, leaves when told."""

from __future__ import annotations

import faulthandler
import json
import logging
import queue
import signal
import socket
import sys
import traceback
from dataclasses import dataclass
from typing import Any

from . import application
from .drain import Server
from .report import Line

logger = logging.getLogger(__name__)

FOREGROUND_LEAVE_SECONDS = 5
# Seconds that threads of the site may go on after the last request, before the process ends without them.
EXIT_SECONDS = 10


@dataclass(frozen=True)
class Order:
    """What to become; the process's argument is this as JSON."""

    server: str  # "1", "2", "debug" …
    zope_ini: str
    zope_conf: str
    threads: int
    release: str = ""
    supervisor: str = ""  # the Unix socket to report to; empty: in the foreground, accepting at once
    listener: int = -1  # in the foreground: the descriptor of the bound socket


def main(argument: str) -> int:
    order = Order(**json.loads(argument))
    return PoolServer(order).run() if order.supervisor else run_in_foreground(order)


class PoolServer:
    """Boots, reports ready, accepts when it is given the listening socket, leaves when told."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._orders: queue.SimpleQueue[tuple[dict[str, Any], socket.socket | None]] = queue.SimpleQueue()
        self._server: Server | None = None
        self._line = Line(order.supervisor, {"server": order.server, "release": order.release}, self._take_order)

    def run(self) -> int:
        """Returns the exit code."""
        self._line.start()
        try:
            site = application.load(self._order.zope_ini, self._order.zope_conf)
        except BaseException:
            reason = traceback.format_exc()
            sys.stderr.write(reason)
            self._line.tell("failed", reason=reason)
            return 1
        self._line.tell("ready")
        order, listener = self._orders.get()
        if order["order"] == "accept" and listener is not None:
            self._serve(Server(site, listener, self._order.threads), listener)
        return end()

    def _serve(self, server: Server, listener: socket.socket) -> None:
        self._line.keep_listener(listener)
        self._server = server
        server.accept_connections()
        self._line.tell("serving")
        server.run()

    def _take_order(self, order: dict[str, Any], listener: socket.socket | None) -> None:
        """Called in the line's thread."""
        if self._server is None:
            self._orders.put((order, listener))
        elif order["order"] == "leave":
            self._server.call(self._leave, float(order["timeout"]))

    def _leave(self, timeout: float) -> None:
        assert self._server
        self._server.leave(timeout)
        self._line.keep_listener(None)
        self._line.tell("leaving")


def run_in_foreground(order: Order) -> int:
    """Boot and accept at once; Ctrl-C or SIGTERM ends it cleanly. Returns the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        site = application.load(order.zope_ini, order.zope_conf)
    except KeyboardInterrupt:
        return 1
    server = Server(site, socket.socket(fileno=order.listener), order.threads)
    try:
        server.accept_connections()
        logger.info("Accepting connections")
        server.run()
    except KeyboardInterrupt:
        server.leave(FOREGROUND_LEAVE_SECONDS)
        server.run()
    return end()


def end() -> int:
    """Close the database; what the site still has running does not keep the process."""
    application.close_databases()
    logging.shutdown()
    faulthandler.dump_traceback_later(EXIT_SECONDS, exit=True)
    return 0
