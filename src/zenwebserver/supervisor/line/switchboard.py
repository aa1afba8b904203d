"""Where servers call: each says who it is and how it stands, hands over its listening socket, and takes orders."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

LONGEST_FIRST_LINE = 64 * 1024  # bytes


class Call:
    """A server process on the line."""

    def __init__(self, pid: int, standing: dict[str, Any], listener: socket.socket | None, line: socket.socket) -> None:
        self.pid = pid
        self.standing = standing
        self.listener = listener
        self.listen: Callable[[dict[str, Any]], None] = lambda _: None
        self._line = line

    def order(self, name: str, listener: socket.socket | None = None, **details: Any) -> None:
        """Send an order, with a listening socket where it takes one. Unheard where the process is gone or stuck."""
        line = json.dumps({"order": name, "listener": listener is not None, **details}).encode() + b"\n"
        with contextlib.suppress(ConnectionError, BlockingIOError):
            socket.send_fds(self._line, [line], [] if listener is None else [listener.fileno()])


class Switchboard:
    """Answers calls on a Unix socket; `answer` is told of each new one."""

    def __init__(self, path: Path, answer: Callable[[Call], None]) -> None:
        self._path = path
        self._answer = answer
        self._socket: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        self._socket = listen_on(self._path)
        self._keep(self._accept())

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._socket:
            self._socket.close()
            self._path.unlink(missing_ok=True)

    def _keep(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self) -> None:
        assert self._socket
        while True:
            connection, _ = await asyncio.get_running_loop().sock_accept(self._socket)
            self._keep(self._serve(connection))

    async def _serve(self, connection: socket.socket) -> None:
        pid, uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid not in (os.geteuid(), 0):
            connection.close()
            return
        try:
            standing, listener, rest = await _first_line(connection)
        except (OSError, ValueError, EOFError):
            connection.close()
            return
        call = Call(pid, standing, listener, connection)
        self._answer(call)
        with contextlib.suppress(ConnectionError), connection:
            async for line in _lines(connection, rest):
                call.listen(json.loads(line))


async def _first_line(connection: socket.socket) -> tuple[dict[str, Any], socket.socket | None, bytes]:
    """The first line of a call, the listening socket that came with it, and the bytes read behind it."""
    loop = asyncio.get_running_loop()
    connection.setblocking(False)
    received, descriptors = b"", list[int]()
    while b"\n" not in received:
        await _readable(loop, connection)
        part, more, _, _ = socket.recv_fds(connection, LONGEST_FIRST_LINE, 1)
        descriptors += more
        received += part
        if not part or len(received) > LONGEST_FIRST_LINE:
            for descriptor in descriptors:
                os.close(descriptor)
            raise EOFError
    line, _, rest = received.partition(b"\n")
    listener = socket.socket(fileno=descriptors[0]) if descriptors else None
    return json.loads(line), listener, rest


async def _lines(connection: socket.socket, received: bytes) -> AsyncIterator[bytes]:
    while True:
        *lines, received = received.split(b"\n")
        for line in lines:
            yield line
        part = await asyncio.get_running_loop().sock_recv(connection, LONGEST_FIRST_LINE)
        if not part:
            return
        received += part


async def _readable(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> None:
    ready = loop.create_future()
    loop.add_reader(connection, _set, ready)
    try:
        await ready
    finally:
        loop.remove_reader(connection)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def listen_on(path: Path) -> socket.socket:
    """A listening Unix socket at `path`, for its owner alone; a left-over one is replaced."""
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.setblocking(False)
    mask = os.umask(0o177)
    try:
        server.bind(str(path))
    finally:
        os.umask(mask)
    server.listen(128)
    return server
