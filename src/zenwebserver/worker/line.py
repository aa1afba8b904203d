"""The line to the supervisor: this process calls it, says who it is and how it stands, and takes its orders.

Where the supervisor dies, the process goes on serving and calls again until the next one answers; what it says first is
everything that the next one must know, the listening socket included.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Callable, Optional

from .messages import (
    LONGEST_LINE,
    VERSION,
    Figures,
    Forked,
    Order,
    OrderName,
    Standing,
    ThreadNow,
    WorkerState,
    decode,
    encode,
)

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.2
# A supervisor that reads nothing for so long is hung up on: nobody here waits for it longer.
SEND_SECONDS = 5.0
READ_BYTES = 64 * 1024
# Characters; in JSON one may take twelve bytes.
LONGEST_REASON = LONGEST_LINE // 16
TAKE_A_LISTENER = (OrderName.TRY, OrderName.ACCEPT)

# Called with the listening socket where, and only where, the order takes one; it is the callee's to close.
TakeOrder = Callable[[Order, Optional[socket.socket]], None]


class Line:
    """This process's end of the line."""

    def __init__(self, path: str, standing: Standing, take_order: TakeOrder) -> None:
        self._path = path
        self._standing = dataclasses.replace(standing, pid=os.getpid(), version=VERSION)
        self._take_order = take_order
        self._listener: socket.socket | None = None
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        # The descriptors that came with each line that is not obeyed yet; the last is not ended yet.
        self._came_with: list[list[int]] = [[]]

    def tell(self, state: WorkerState, reason: str = "") -> None:
        """Say how this process stands now. Unheard, it is said again at the next call."""
        with self._lock:
            self._stand(state, reason)
            self._send(self._standing)

    def tell_at_last(self, state: WorkerState, reason: str = "") -> None:
        """Say how this process stands when it ends; where it is not on the line, it calls only for that."""
        with self._lock:
            self._stand(state, reason)
            if self._send(self._standing):
                return
            with contextlib.suppress(OSError), self._connected() as connection:
                connection.sendall(encode(self._standing))

    def mention(
        self,
        *,
        figures: Figures | None = None,
        threads: tuple[ThreadNow, ...] | None = None,
        forked: Forked | None = None,
    ) -> None:
        """Say something that holds now and need not be said again."""
        with self._lock:
            self._send(dataclasses.replace(self._standing, figures=figures, threads=threads, forked=forked))

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
        with contextlib.suppress(OSError), self._connected() as connection:
            with self._lock:
                self._introduce(connection)
                self._connection = connection
            try:
                self._take_orders(connection)
            finally:
                with self._lock:
                    self._connection = None
                self._drop_descriptors()

    def close(self) -> None:
        """In a forked child: this line is its parent's."""
        if self._connection is not None:
            self._connection.close()
        self._drop_descriptors()

    def _stand(self, state: WorkerState, reason: str) -> None:
        # Bytes that are no text, such as those of a file's name in a traceback, could not be written to a log.
        readable = reason[-LONGEST_REASON:].encode(errors="backslashreplace").decode()
        self._standing = dataclasses.replace(self._standing, state=state, reason=readable)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            timeout = struct.pack("@ll", int(SEND_SECONDS), int(SEND_SECONDS % 1 * 1_000_000))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
            connection.connect(self._path)
            yield connection

    def _introduce(self, connection: socket.socket) -> None:
        line, sent = encode(self._standing), 0
        if self._listener is not None:
            sent = socket.send_fds(connection, [line], [self._listener.fileno()])
        connection.sendall(line[sent:])

    def _send(self, standing: Standing) -> bool:
        """Whether it is on the line and that was sent."""
        if self._connection is None:
            return False
        try:
            self._connection.sendall(encode(standing))
        except OSError:
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)  # whoever waits for orders on it calls again
            self._connection = None
            return False
        return True

    def _take_orders(self, connection: socket.socket) -> None:
        received = b""
        while len(received) <= LONGEST_LINE:
            part, descriptors, _, _ = socket.recv_fds(connection, READ_BYTES, 1)
            if not part:
                return
            *lines, received = (received + part).split(b"\n")
            self._came_with += [[] for _ in lines]
            # The kernel ends a read where what descriptors came with ends: they are of the last line that has begun.
            last = self._came_with[-1 if received else -2]
            last += descriptors
            _close(last[1:])
            del last[1:]
            for line in lines:
                self._obey(line, self._came_with.pop(0))
        logger.warning("The supervisor sent %d bytes that are no order; hanging up", len(received))

    def _drop_descriptors(self) -> None:
        for descriptors in self._came_with:
            _close(descriptors)
        self._came_with = [[]]

    def _obey(self, line: bytes, descriptors: list[int]) -> None:
        try:
            order = decode(Order, line)
        except ValueError as error:
            _close(descriptors)
            logger.warning("What is no order is ignored: %s: %.200r", error, line)
            return
        listener = _listener(descriptors.pop(0)) if order.listener and descriptors else None
        _close(descriptors)
        takes_one = order.order in TAKE_A_LISTENER
        if listener is None and (order.listener or takes_one):
            logger.warning("The order to %s came without a listening socket and is ignored", order.order)
            return
        if listener is not None and not takes_one:
            listener.close()
            listener = None
        try:
            self._take_order(order, listener)
        except Exception:
            logger.exception("The order to %s could not be carried out", order.order)


def _listener(descriptor: int) -> socket.socket | None:
    """None, and closed, where it is nothing that a server could listen on."""
    try:
        listener = socket.socket(fileno=descriptor)
    except OSError:
        os.close(descriptor)
        return None
    listener.set_inheritable(False)  # what the site starts must not keep it listening
    if listener.family in (socket.AF_INET, socket.AF_INET6) and listener.type == socket.SOCK_STREAM:
        return listener
    listener.close()
    return None


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
