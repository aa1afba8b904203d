"""Where processes call: a Unix socket on which each says who it is and how it stands, and takes orders."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

from zenwebserver.machine.unix_sockets import listen_on
from zenwebserver.supervisor.tasks import Tasks
from zenwebserver.worker.messages import LONGEST_LINE, Order, Standing, decode, encode

logger = logging.getLogger(__name__)

READ_BYTES = 64 * 1024


class Call:
    """A process on the line. `standing` is the last that it said; whoever `listen`s later has missed nothing of it."""

    def __init__(self, pid: int, standing: Standing, listener: socket.socket | None, line: socket.socket) -> None:
        self.pid = pid
        self.standing = standing
        self.listener = listener
        self.listen: Callable[[Standing], None] = lambda _: None
        self._line = line

    @property
    def open(self) -> bool:
        return self._line.fileno() >= 0

    def hear(self, standing: Standing) -> None:
        self.standing = standing
        self.listen(standing)

    def order(self, order: Order, listener: socket.socket | None = None) -> bool:
        """Send an order, with a listening socket where it takes one. Returns whether it is on its way."""
        line = encode(order)
        try:
            sent = socket.send_fds(self._line, [line], [] if listener is None else [listener.fileno()])
        except OSError:  # it hung up, is gone, or reads nothing any more
            return False
        if sent < len(line):
            self.hang_up()  # what came next would be read as the rest of this one
            return False
        return True

    def hang_up(self) -> None:
        """Where the process lives, it calls again."""
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)

    def drop_listener(self) -> None:
        """Its socket is not taken over: what nobody here closes would go on listening, with nobody who reads."""
        if self.listener:
            self.listener.close()
            self.listener = None


class Switchboard:
    """Answers calls; `answer` is told of each new one."""

    def __init__(self, path: Path, answer: Callable[[Call], None], tasks: Tasks) -> None:
        self._path = path
        self._answer = answer
        self._tasks = tasks
        self._socket: socket.socket | None = None
        self._open: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        self.close()
        self._socket = listen_on(self._path)
        self._keep(self._tasks.keep("The switchboard", self._accept))

    def close(self) -> None:
        """Hang up on everybody, and answer nobody any more."""
        for task in self._open:
            task.cancel()
        if self._socket:
            self._socket.close()
            self._socket = None

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _accept(self) -> None:
        assert self._socket
        while True:
            connection, _ = await asyncio.get_running_loop().sock_accept(self._socket)
            call = self._tasks.do("A call", self._serve(connection))
            call.add_done_callback(partial(_close_connection, connection))  # also if it was ended before it began
            self._keep(call)

    async def _serve(self, connection: socket.socket) -> None:
        with connection:
            pid, uid = caller(connection)
            if uid not in (os.geteuid(), 0):
                logger.warning("Process %d of user %d called and is hung up on", pid, uid)
                return
            try:
                line, descriptors, rest = await _first_line(connection)
                call = Call(pid, *_understood(line, descriptors), connection)
            except (OSError, EOFError, ValueError) as error:
                logger.warning("Process %d called, and is not understood: %s", pid, str(error) or "it hung up")
                return
            try:
                self._answer(call)
                async for line in _lines(connection, rest):
                    call.hear(decode(Standing, line))
            except ConnectionError:
                pass  # it is gone
            except ValueError as error:
                logger.warning("Process %d is not understood, and hung up on: %s", pid, str(error))
            finally:
                call.drop_listener()


def caller(connection: socket.socket) -> tuple[int, int]:
    """The pid and the user of whoever called, by the kernel's word."""
    pid, uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid


async def _first_line(connection: socket.socket) -> tuple[bytes, list[int], bytes]:
    """The first line of a call, the descriptors that came with it, and the bytes read behind it. Raises EOFError."""
    connection.setblocking(False)
    received, descriptors = b"", list[int]()
    try:
        while b"\n" not in received:
            await _readable(connection)
            part, more, flags, _ = socket.recv_fds(connection, READ_BYTES, 1)
            descriptors += more
            received += part
            if not part:
                raise EOFError
            if len(descriptors) > 1 or flags & socket.MSG_CTRUNC:  # the kernel drops those for which there is no room
                raise ValueError("it passed more than one descriptor, or there was no room for it")
            _refuse_endless(received)
    except BaseException:
        _close(descriptors)
        raise
    line, _, rest = received.partition(b"\n")
    return line, descriptors, rest


def _understood(line: bytes, descriptors: list[int]) -> tuple[Standing, socket.socket | None]:
    """Raises ValueError, OSError. The descriptors are closed whatever it raises."""
    try:
        standing = decode(Standing, line)
        listener = socket.socket(fileno=descriptors[0]) if descriptors else None
    except BaseException:
        _close(descriptors)
        raise
    if listener:
        listener.set_inheritable(False)  # what is started here must not keep it listening
    if listener and not _is_listening(listener):
        listener.close()
        raise ValueError("what it passed is no listening TCP socket")
    return standing, listener


def _is_listening(listener: socket.socket) -> bool:
    return listener.family in (socket.AF_INET, socket.AF_INET6) and bool(
        listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    )


async def _lines(connection: socket.socket, received: bytes) -> AsyncIterator[bytes]:
    """Raises ValueError for a line without end."""
    while True:
        *lines, received = received.split(b"\n")
        for line in lines:
            yield line
        _refuse_endless(received)
        part = await asyncio.get_running_loop().sock_recv(connection, READ_BYTES)
        if not part:
            return
        received += part


def _refuse_endless(received: bytes) -> None:
    if len(received) > LONGEST_LINE:
        raise ValueError(f"a line of more than {LONGEST_LINE} bytes")


def _close_connection(connection: socket.socket, _: asyncio.Task[None]) -> None:
    connection.close()


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(connection, _set, ready)
    try:
        await ready
    finally:
        loop.remove_reader(connection)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
