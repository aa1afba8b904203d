"""One process of a server, or a zygote, as the supervisor sees it: it boots, is ready, serves, leaves."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from zenwebserver.errors import ZenwebserverError
from zenwebserver.machine.processes import Process
from zenwebserver.supervisor.line.switchboard import Call
from zenwebserver.worker.messages import Figures, Order, OrderName, ServerSpec, Standing, ThreadNow, WorkerState

TAIL_LINES = 20
STACK_LINES = 200
STACKS_SECONDS = 0.5  # for writing stacks into the log
LAST_CALL_SECONDS = 0.5
IDLE_SECONDS = 0.1  # between two looks, of which both find no request
BUSY_SECONDS = 1.0  # until the next look, where there is one
END_SECONDS = 10.0  # for ending by itself once it has said that it failed; threads of the site may keep it


class StartError(ZenwebserverError):
    """A server did not come up; `detail` is the site's traceback, or the last lines of its log."""


class Worker:
    """A process, known by the `token` of the order that it was made for, with the call that it makes."""

    def __init__(self, token: str, log: Path) -> None:
        self.token = token
        self.standing = Standing(WorkerState.STARTING)
        self.figures = Figures()
        self.hears: Callable[[Standing], None] = lambda _: None
        self.heard_at = asyncio.get_running_loop().time()
        self._log = log
        self._log_start = log_size(log)
        self._process: Process | None = None
        self._call: Call | None = None
        self._news = asyncio.Event()
        self._heard = 0
        self._said: dict[WorkerState, int] = {}  # when it last said that it stands so, counted in what was heard
        self._threads: asyncio.Future[tuple[ThreadNow, ...]] | None = None

    def born(self, process: Process) -> None:
        """Its process is there; it may have called already."""
        self._process = process
        process.exited.add_done_callback(lambda _: self._news.set())

    @property
    def process(self) -> Process:
        assert self._process, "it is not born yet"
        return self._process

    @property
    def state(self) -> WorkerState:
        return self.standing.state if self.process.running else WorkerState.GONE

    def answer(self, call: Call) -> None:
        """It called: this is its line from now on, and what may still come on the former one is old."""
        if self._call:
            self._call.listen = lambda _: None
        self._call = call
        call.listen = self._hear
        self._hear(call.standing)

    def take_listener(self) -> socket.socket | None:
        """The listening socket that it handed over when it called."""
        listener = self._call.listener if self._call else None
        if self._call:
            self._call.listener = None
        return listener

    def forgive_silence(self) -> None:
        """It was not heard because nobody listened."""
        self.heard_at = asyncio.get_running_loop().time()

    def _hear(self, standing: Standing) -> None:
        if self._threads and not self._threads.done() and standing.threads is not None:
            self._threads.set_result(standing.threads)
        self.standing = standing
        self.figures = standing.figures or self.figures
        self.heard_at = asyncio.get_running_loop().time()
        self._heard += 1
        self._said[standing.state] = self._heard
        self.hears(standing)
        self._news.set()

    def order(
        self,
        name: OrderName,
        listener: socket.socket | None = None,
        *,
        timeout: float = 0.0,
        server: ServerSpec | None = None,
        log: str = "",
    ) -> bool:
        """Tell it to do something. Returns whether it is on the line."""
        what = Order(name, listener=listener is not None, timeout=timeout, server=server, log=log)
        return self._call is not None and self._call.order(what, listener)

    async def reached(self, seconds: float) -> bool:
        """Whether it is on the line; one that calls again within `seconds` is waited for."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._on_the_line and self.process.running:
                    self._news.clear()
                    await self._news.wait()
        return self._on_the_line

    @property
    def _on_the_line(self) -> bool:
        return self._call is not None and self._call.open

    async def threads(self, seconds: float) -> tuple[ThreadNow, ...]:
        """What each of its threads does now. Raises ZenwebserverError where it does not answer."""
        if self._threads is None or self._threads.done():
            self._threads = asyncio.get_running_loop().create_future()
        self.order(OrderName.THREADS)
        try:
            return await asyncio.wait_for(asyncio.shield(self._threads), seconds)
        except TimeoutError:
            raise ZenwebserverError(
                f"Process {self.process.pid} does not answer within {seconds:g} s",
                hint=f"To have its stacks written to {self._log}: kill -USR1 {self.process.pid}",
            ) from None

    async def has_answered(self, seconds: float) -> bool:
        """Wait until no thread works on a request, or it has ended; false where that takes longer than `seconds`.

        It looks twice: what was sent may be on its way from the connection to a thread.
        """
        idle, pause = 0, IDLE_SECONDS
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while idle < 2 and not await self.process.wait(pause):
                    with contextlib.suppress(ZenwebserverError):  # it does not answer yet
                        busy = any(thread.request for thread in await self.threads(seconds))
                        idle, pause = (0, BUSY_SECONDS) if busy else (idle + 1, IDLE_SECONDS)
                return True
        return False

    async def until(self, state: WorkerState, seconds: float) -> None:
        """Wait until it stands so, or has said so meanwhile.

        Raises StartError where it fails, ends, or takes longer than `seconds`.
        """
        begun = self._heard
        try:
            async with asyncio.timeout(seconds):
                while self.state is not state and self._said.get(state, 0) <= begun:
                    if self.state in (WorkerState.FAILED, WorkerState.UNSAFE, WorkerState.GONE):
                        await self.process.wait(END_SECONDS)
                        await self._last_call()
                        how, words = self._how_it_failed(), self.last_words()
                        raise StartError(how, detail="" if how.endswith(words) else words)
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise StartError(f"was not {state} after {seconds:g} s", detail=await self._stacks()) from None

    def _how_it_failed(self) -> str:
        """How it ended, and the error that its traceback ends with."""
        lines = self.standing.reason.splitlines()
        error = next((line for line in reversed(lines) if line.strip() and not line[0].isspace()), "")
        how = str(self.standing.state) if self.process.running else self.process.exited.result()
        return f"{how}: {error}" if error else how

    async def _stacks(self) -> str:
        """Where it hangs: it writes that into its log."""
        start = log_size(self._log)
        self.process.send(signal.SIGUSR1)
        await self.process.wait(STACKS_SECONDS)
        return tail(self._log, start, STACK_LINES) or self.last_words()

    async def _last_call(self) -> None:
        """What a process said right before it ended may arrive after its end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_CALL_SECONDS):
                while not self.standing.reason:
                    self._news.clear()
                    await self._news.wait()

    def last_words(self) -> str:
        """Why it failed: its traceback, else the last lines that it logged."""
        return self.standing.reason.rstrip() or tail(self._log, self._log_start)


def log_size(log: Path) -> int:
    """Bytes; 0 where there is none."""
    try:
        return log.stat().st_size
    except OSError:
        return 0


def tail(log: Path, start: int = 0, most: int = TAIL_LINES) -> str:
    """The last lines of `log` behind byte `start`."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(start, size - 16 * 1024))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-most:])
