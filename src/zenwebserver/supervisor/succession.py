"""Succession: the next supervisor is started by this one, and this one ends only when that one lives."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess

from zenwebserver.errors import ZenwebserverError, told
from zenwebserver.home import Home
from zenwebserver.machine import privileges
from zenwebserver.machine.identity import Identity
from zenwebserver.machine.processes import Process
from zenwebserver.supervisor.lock import Lock
from zenwebserver.supervisor.starter import BEGIN, LOADED, READY

LOAD_SECONDS = 60.0
# Adoption waits 5 s for calls, and 10 s for each process that must be ended (adoption.py).
ADOPT_SECONDS = 120.0
END_SECONDS = 10.0
READ_BYTES = 4096


class Successor:
    """The process that is to be the next supervisor. It says how far it is, line by line; its errors too."""

    def __init__(self, process: Process, line: socket.socket, home: Home) -> None:
        self._process = process
        self._line = line
        self._home = home
        self._said = b""

    @classmethod
    def start(cls, home: Home, lock: Lock, python: str) -> Successor:
        """It loads, with `lock` in its hands already. Raises ZenwebserverError."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            with theirs, privileges.binding_low_ports(True):
                child = subprocess.Popen(
                    [
                        *(python, "-m", "zenwebserver.supervisor", str(home.path)),
                        *("--succeed", str(theirs.fileno()), str(lock.descriptor)),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=theirs.fileno(),
                    stderr=theirs.fileno(),
                    cwd="/",
                    pass_fds=(theirs.fileno(), lock.descriptor),
                    start_new_session=True,
                )
            try:
                process = Process(Identity.of(child.pid) or Identity(child.pid, 0), child)
            except OSError:
                child.kill()
                child.wait()
                raise
        except OSError as error:
            ours.close()
            raise ZenwebserverError(
                f"The new supervisor cannot be started: {told(error)}", hint="The former one goes on as before."
            ) from error
        return cls(process, ours, home)

    async def loads(self) -> None:
        """Wait until it could take over. Raises ZenwebserverError."""
        await self._says(LOADED, LOAD_SECONDS)

    async def takes_over(self) -> None:
        """Nobody else supervises any more: have it begin, and wait until it is found and has adopted what runs.

        Raises ZenwebserverError.
        """
        with contextlib.suppress(ConnectionError):  # what it said before it ended is read below
            self._line.send(BEGIN)
        await self._says(READY, ADOPT_SECONDS)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        self._process.send(number)

    async def end(self) -> None:
        """It is not to be. Returns when it is gone."""
        await self._process.end(signal.SIGKILL, END_SECONDS)
        self._line.close()

    def leave(self) -> None:
        """It lives, and goes on alone."""
        self._line.close()

    async def _says(self, word: str, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while word.encode() not in self._said.split(b"\n"):
                    if not (part := await self._read()):
                        await self._process.wait()
                        raise self._failure(str(self._process.exited.result()))
                    self._said += part
        except TimeoutError:
            raise self._failure(f"was not {word} after {seconds:g} s") from None

    async def _read(self) -> bytes:
        try:
            return await asyncio.get_running_loop().sock_recv(self._line, READ_BYTES)
        except ConnectionError:
            return b""

    def _failure(self, how: str) -> ZenwebserverError:
        words = [line for line in self._said.decode(errors="replace").splitlines() if line not in (LOADED, READY)]
        return ZenwebserverError(
            f"The new supervisor did not take over: it {how}",
            hint=f"The former one goes on, and so does what runs. The log: {self._home.supervisor_log}",
            detail="\n".join(words),
        )
