"""The supervisor's end of the line, as much of it as a test needs: a socket where the process under test calls."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from zenwebserver.worker.messages import Order, Standing, WorkerState, decode, encode

SECONDS = 10.0


class Call:
    """A process on the line."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._connection.settimeout(SECONDS)
        self._received, self._descriptors = b"", list[int]()
        self.first_line = self.hear_line()
        self.standing = decode(Standing, self.first_line)
        self.states = [self.standing.state]  # one after the other
        self.listener = socket.socket(fileno=self._descriptors.pop()) if self._descriptors else None

    def hear_line(self) -> bytes:
        """Raises EOFError where it has hung up."""
        while b"\n" not in self._received:
            part, descriptors, _, _ = socket.recv_fds(self._connection, 65536, 1)
            if not part:
                raise EOFError
            self._descriptors += descriptors
            self._received += part
        line, _, self._received = self._received.partition(b"\n")
        return line

    def hear(self) -> Standing:
        self.standing = decode(Standing, self.hear_line())
        if self.standing.state is not self.states[-1]:
            self.states.append(self.standing.state)
        return self.standing

    def hear_of(self, state: WorkerState) -> Standing:
        """What it says when it stands so; news of other things may come before."""
        while self.standing.state is not state:
            self.hear()
        return self.standing

    def tell(self, order: Order, *descriptors: int) -> None:
        self.send(encode(order), *descriptors)

    def send(self, content: bytes, *descriptors: int) -> None:
        socket.send_fds(self._connection, [content], list(descriptors))

    def hears_hang_up(self) -> bool:
        try:
            while True:
                self.hear()
        except (EOFError, ConnectionResetError):
            return True

    def hang_up(self) -> None:
        self._connection.close()
        if self.listener:
            self.listener.close()


class SupervisorEnd:
    """Answers calls."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "workers.sock")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(self.path)
        self._socket.listen()
        self._socket.settimeout(SECONDS)
        self._calls: list[Call] = []

    def answer(self) -> Call:
        self._calls.append(Call(self._socket.accept()[0]))
        return self._calls[-1]

    def is_called(self, seconds: float) -> bool:
        """Whether somebody calls within that time."""
        self._socket.settimeout(seconds)
        try:
            self._socket.accept()[0].close()
        except TimeoutError:
            return False
        finally:
            self._socket.settimeout(SECONDS)
        return True

    def close(self) -> None:
        for call in self._calls:
            call.hang_up()
        self._socket.close()


@contextlib.contextmanager
def running(program: str, argument: str, log: Path) -> Iterator[subprocess.Popen[str]]:
    """A process of this Python that runs `program`, killed in the end; its errors go to `log`."""
    with (
        log.open("a") as errors,
        subprocess.Popen(
            [sys.executable, "-c", program, argument],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()
