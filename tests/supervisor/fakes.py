"""Processes that are played: they do what a test says, at once or after virtual seconds."""

from __future__ import annotations

import asyncio
import itertools
import signal
import socket
from dataclasses import replace
from pathlib import Path

from zenwebserver.machine.identity import Identity
from zenwebserver.machine.processes import Process
from zenwebserver.supervisor.line.switchboard import Call
from zenwebserver.supervisor.line.worker import Worker
from zenwebserver.worker.messages import VERSION, Order, OrderName, Standing, WorkerState

PIDS = itertools.count(10_000_001)  # above the kernel's highest (2^22)
TOKENS = itertools.count(1)
ENDED = "ended with exit code 0"


class FakeProcess(Process):
    """Ends when the test says so, or by a signal that it does not ignore."""

    def __init__(self) -> None:
        self.pid = next(PIDS)
        self.identity = Identity(self.pid, 1)
        self.exited: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.signals: list[signal.Signals] = []
        self.ignores = {signal.SIGUSR1}

    def die(self, how: str = "was killed by SIGKILL") -> None:
        if not self.exited.done():
            self.exited.set_result(how)

    def send(self, number: signal.Signals) -> None:
        if self.running:
            self.signals.append(number)
            if number not in self.ignores:
                self.die(f"was killed by {number.name}")

    def name_in(self, pid_file: Path) -> None:
        pid_file.write_text(f"{self.pid}\n")


class FakeCall(Call):
    """A process on the line, played: it says `standing` again with each state that an order brings it to."""

    def __init__(self, process: FakeProcess, standing: Standing, listener: socket.socket | None = None) -> None:
        self.pid = process.pid
        self.standing = standing
        self.listener = listener
        self.listen = lambda _: None
        self.process = process
        self.orders: list[OrderName] = []
        self.told: list[Order] = []
        self.hears = True  # a stuck process does not
        self.hung_up = False
        self.leave_seconds = 0.0  # until it has answered what it had accepted
        self.socket: socket.socket | None = None  # that it accepts from
        process.exited.add_done_callback(lambda _: self._closes())

    @property
    def open(self) -> bool:
        return self.process.running and not self.hung_up

    def says(self, state: WorkerState, reason: str = "") -> None:
        """A moment later."""
        self.standing = replace(self.standing, state=state, reason=reason)
        asyncio.get_running_loop().call_soon(self.hear, self.standing)

    def hang_up(self) -> None:
        self.hung_up = True

    def order(self, order: Order, listener: socket.socket | None = None) -> bool:
        if not self.open:
            return False
        self.orders.append(order.order)
        self.told.append(order)
        if self.hears:
            self.obey(order, listener)
        return True

    def obey(self, order: Order, listener: socket.socket | None) -> None:
        if order.order is OrderName.TRY:
            assert listener
            self._answer_on(listener.dup())
            self.says(WorkerState.TRYING)
        elif order.order is OrderName.ACCEPT:
            assert listener
            self._closes()
            self.socket = listener.dup()
            self.socket.listen()
            self.says(WorkerState.SERVING)
        elif order.order is OrderName.REST:
            self._closes()
            self.says(WorkerState.RESTING)
        elif order.order is OrderName.LEAVE:
            self._closes()
            self.says(WorkerState.LEAVING)
            asyncio.get_running_loop().call_later(self.leave_seconds, self.process.die, ENDED)

    def _answer_on(self, aside: socket.socket) -> None:
        aside.listen()
        aside.setblocking(False)
        self.socket = aside
        asyncio.get_running_loop().add_reader(aside, self._answer_once)

    def _answer_once(self) -> None:
        assert self.socket
        asyncio.get_running_loop().remove_reader(self.socket)
        connection, _ = self.socket.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

    def _closes(self) -> None:
        if self.socket:
            asyncio.get_running_loop().remove_reader(self.socket)
            self.socket.close()
            self.socket = None


class Played:
    """A worker with the process and the call behind it."""

    def __init__(self, log: Path, server: str = "1") -> None:
        self.process = FakeProcess()
        self.worker = Worker(f"token {next(TOKENS)}", log)
        self.worker.born(self.process)
        self.call = FakeCall(
            self.process,
            Standing(
                WorkerState.STARTING, token=self.worker.token, pid=self.process.pid, server=server, version=VERSION
            ),
        )
        self.worker.answer(self.call)

    def boots(self, seconds: float = 0.0) -> None:
        asyncio.get_running_loop().call_later(seconds, self._is_ready)

    def fails(self, reason: str = "Traceback\nValueError: broken") -> None:
        self.call.says(WorkerState.FAILED, reason)
        asyncio.get_running_loop().call_soon(self.process.die, "ended with exit code 1")

    def _is_ready(self) -> None:
        if self.process.running:
            self.call.says(WorkerState.READY)

    @property
    def accepts(self) -> bool:
        return self.process.running and self.call.socket is not None and self.call.orders[-1] is OrderName.ACCEPT


async def soon() -> None:
    """All that can happen without time going by has happened."""
    await asyncio.sleep(0.001)


def takes_connections(address: tuple[str, int]) -> bool:
    """Whether somebody listens, by the kernel's word."""
    with socket.socket() as visitor:
        return visitor.connect_ex(address) == 0


def descriptors() -> int:
    """How many this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))
