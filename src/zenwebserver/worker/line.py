"""The line to the supervisor: this process calls it, says who it is and how it stands, and takes its orders.

Where the supervisor dies, the process goes on serving and calls again until the next one answers; what it says first is
everything that the next one must know, the listening socket included.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any, Callable, Optional

RETRY_SECONDS = 0.2
LONGEST_ORDER = 64 * 1024  # bytes

TakeOrder = Callable[[dict[str, Any], Optional[socket.socket]], None]


class Line:
    """States that a server reports: starting, ready, trying (it serves the supervisor alone), serving, resting,
    leaving, failed.
    """

    def __init__(self, path: str, who: Mapping[str, Any], take_order: TakeOrder) -> None:
        self._path = path
        self._standing: dict[str, Any] = dict(who, pid=os.getpid(), state="starting")
        self._take_order = take_order
        self._listener: socket.socket | None = None
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None

    def tell(self, state: str, **details: Any) -> None:
        """Say how this process stands now. Unheard, it is said again at the next call."""
        with self._lock:
            self._standing.update(details, state=state)
            self._send(self._standing)

    def mention(self, **news: Any) -> None:
        """Say something that holds now and need not be said again."""
        with self._lock:
            self._send({**self._standing, **news})

    def keep_listener(self, listener: socket.socket | None) -> None:
        """The socket to hand to the next supervisor; a copy, because the server closes its own when it leaves."""
        with self._lock:
            if self._listener is not None:
                self._listener.close()
            self._listener = listener and listener.dup()

    def run(self) -> None:
        """Take orders for ever."""
        while True:
            self.call()
            time.sleep(RETRY_SECONDS)

    def run_in_thread(self) -> None:
        threading.Thread(target=self.run, name="zenwebserver-report", daemon=True).start()

    def call(self) -> None:
        """Call once, and take orders until the supervisor hangs up; returns at once where nobody answers."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(self._path)
            with self._lock:
                if self._listener is None:
                    connection.sendall(_encoded(self._standing))
                else:
                    socket.send_fds(connection, [_encoded(self._standing)], [self._listener.fileno()])
                self._connection = connection
            try:
                self._take_orders(connection)
            finally:
                with self._lock:
                    self._connection = None

    def say_goodbye(self) -> None:
        """Call only to say how this process stands, and hang up."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(self._path)
            connection.sendall(_encoded(self._standing))

    def close(self) -> None:
        """In a forked child: this line is its parent's."""
        if self._connection is not None:
            self._connection.close()

    def _send(self, what: Mapping[str, Any]) -> None:
        if self._connection is not None:
            try:
                self._connection.sendall(_encoded(what))
            except OSError:
                self._connection = None

    def _take_orders(self, connection: socket.socket) -> None:
        received, descriptors = b"", list[int]()
        while True:
            part, sent, _, _ = socket.recv_fds(connection, LONGEST_ORDER, 1)
            if not part:
                return
            received, descriptors = received + part, descriptors + list(sent)
            while b"\n" in received:
                line, _, received = received.partition(b"\n")
                order = json.loads(line)
                listener = socket.socket(fileno=descriptors.pop(0)) if order.get("listener") else None
                self._take_order(order, listener)


def _encoded(standing: Mapping[str, Any]) -> bytes:
    return json.dumps(standing).encode() + b"\n"
