"""One Zope server: boots the site, serves it on the listening socket that it is given, leaves when told."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import logging
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from typing import Any

from . import application, stacks, warmup
from .drain import Server
from .line import Line

logger = logging.getLogger(__name__)

FOREGROUND_LEAVE_SECONDS = 5
# Seconds that threads of the site may go on after the last request, before the process ends without them.
EXIT_SECONDS = 10
# Seconds between two reports of a server that serves.
REPORT_SECONDS = 5.0


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
    warmup_paths: tuple[str, ...] = ()
    base: str = "http://localhost:80"  # the site's address as visitors know it
    root: str = ""  # the object that visitors see as the root


def main(argument: str) -> int:
    order = Order(**json.loads(argument))
    return PoolServer(order).run() if order.supervisor else run_in_foreground(order)


class PoolServer:
    """Boots, reports ready, accepts when it is given the listening socket, leaves when told."""

    def __init__(self, order: Order, *, forked: bool = False) -> None:
        self._order = order
        self._forked = forked
        self._orders: queue.SimpleQueue[tuple[dict[str, Any], socket.socket | None]] = queue.SimpleQueue()
        self._server: Server | None = None
        self._line = Line(order.supervisor, {"server": order.server, "release": order.release}, self._take_order)

    def run(self) -> int:
        """Returns the exit code."""
        self._line.run_in_thread()
        try:
            if not self._forked:  # else the zygote has done it; doing it anew would copy 6 MB that servers share
                application.configure_logging(self._order.zope_ini)
            site = application.load(self._order.zope_ini, self._order.zope_conf)
            warmup.check_database()
            self._warm_up().run(site)
        except BaseException:  # noqa: BLE001 - whatever the site raises is what the admin wants to see
            reason = traceback.format_exc()
            self._line.tell("failed", reason=reason)  # first: the disk of the log may be full
            sys.stderr.write(reason)
            return 1
        self._line.tell("ready")
        order, listener = self._orders.get()
        if order["order"] in ("try", "accept") and listener is not None:
            self._serve(Server(site, listener, self._order.threads), listener, on_trial=order["order"] == "try")
        return end()

    def _warm_up(self) -> warmup.WarmUp:
        order = self._order
        return warmup.WarmUp(tuple(order.warmup_paths), order.base, order.root, order.threads)

    def _serve(self, server: Server, listener: socket.socket, *, on_trial: bool) -> None:
        """On trial, the listening socket is known to the supervisor alone; the pool's comes with the next order."""
        if not on_trial:
            self._line.keep_listener(listener)
        self._server = server
        server.accept_connections()
        self._line.tell("trying" if on_trial else "serving")
        threading.Thread(target=self._report, args=(server,), name="zenwebserver-figures", daemon=True).start()
        server.run()

    def _report(self, server: Server) -> None:
        while True:
            self._line.mention(figures=figures(server))
            time.sleep(REPORT_SECONDS)

    def _take_order(self, order: dict[str, Any], listener: socket.socket | None) -> None:
        """Called in the line's thread."""
        server, what = self._server, order["order"]
        if server is None:
            self._orders.put((order, listener))
        elif what == "leave":
            server.call(self._leave, float(order["timeout"]))
        elif what == "rest":
            server.call(self._rest)
        elif what == "accept":
            server.call(self._accept_again, listener)
        elif what == "threads":
            self._line.mention(threads=stacks.threads(server.running))

    # In the thread of the server's loop.

    def _leave(self, timeout: float) -> None:
        assert self._server
        self._server.leave(timeout)
        self._line.keep_listener(None)
        self._line.tell("leaving")

    def _rest(self) -> None:
        assert self._server
        self._server.rest()
        self._line.keep_listener(None)
        self._line.tell("resting")

    def _accept_again(self, listener: socket.socket) -> None:
        assert self._server
        self._server.rest()
        self._server.accept_again(listener)
        self._line.keep_listener(listener)
        self._line.tell("serving")


def figures(server: Server) -> dict[str, Any]:
    """Requests answered, memory in bytes, and since when (seconds ago) every thread has been busy with one request."""
    running = list(server.running.values())
    full = len(running) >= server.adj.threads
    return {
        "requests": server.requests,
        "memory": _private_memory(),
        "busy": len(running),
        "all_busy_seconds": time.time() - max(request.since for request in running) if full else 0.0,
    }


def _private_memory() -> int:
    """Bytes that this process has for itself, shared pages counted in part (PSS); proc(5), smaps_rollup."""
    try:
        with open("/proc/self/smaps_rollup", encoding="ascii") as rollup:
            for line in rollup:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def run_in_foreground(order: Order) -> int:
    """Boot and accept at once; Ctrl-C or SIGTERM ends it cleanly. Returns the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        application.configure_logging(order.zope_ini)
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
        with contextlib.suppress(KeyboardInterrupt):  # once more: without what still runs
            server.run()
    return end()


def end() -> int:
    """Close the database; what the site still has running does not keep the process."""
    application.close_databases()
    logging.shutdown()
    faulthandler.dump_traceback_later(EXIT_SECONDS, exit=True)
    return 0
