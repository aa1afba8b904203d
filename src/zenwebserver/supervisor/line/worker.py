"""One process of a server, as the supervisor sees it: it boots, is ready, serves, leaves."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zenwebserver.errors import ZenwebserverError
from zenwebserver.machine.processes import Process
from zenwebserver.supervisor.line.switchboard import Call

TAIL_LINES = 20
STACK_LINES = 200
STACKS_SECONDS = 0.5  # for writing stacks into the log
LAST_CALL_SECONDS = 0.5


class StartError(ZenwebserverError):
    """A server did not come up; `detail` is the site's traceback, or the last lines of its log."""


class Worker:
    """A process with the call that it made; states as in worker/report.py, and "gone"."""

    def __init__(self, process: Process, log: Path, log_start: int = 0) -> None:
        self.process = process
        self.standing: dict[str, Any] = {"state": "starting"}
        self.listener: socket.socket | None = None
        self._log = log
        self._log_start = log_start
        self._call: Call | None = None
        self._news = asyncio.Event()
        self._threads: asyncio.Future[list[dict[str, Any]]] | None = None
        self.hears: Callable[[dict[str, Any]], None] = lambda _: None
        self.heard_at = asyncio.get_running_loop().time()
        process.exited.add_done_callback(lambda _: self._news.set())

    @property
    def state(self) -> str:
        return str(self.standing["state"]) if self.process.running else "gone"

    def answer(self, call: Call) -> None:
        """It called: this is its line from now on."""
        self._call = call
        call.listen = self._hear
        self.listener = call.listener
        self._hear(call.standing)

    def drop_listener(self) -> None:
        """Its socket is not taken over: what nobody here closes would go on listening, with nobody who reads."""
        if self.listener:
            self.listener.close()
            self.listener = None

    def _hear(self, standing: dict[str, Any]) -> None:
        if self._threads and not self._threads.done() and "threads" in standing:
            self._threads.set_result(standing["threads"])
        self.standing = {**self.standing, **standing, "threads": None}
        self.heard_at = asyncio.get_running_loop().time()
        self.hears(standing)
        self._news.set()

    def order(self, name: str, listener: socket.socket | None = None, **details: Any) -> None:
        """Tell it to do something (worker/server.py and worker/zygote.py say what)."""
        if self._call:
            self._call.order(name, listener, **details)

    async def threads(self, seconds: float) -> list[dict[str, Any]]:
        """What each of its threads does now (worker/stacks.py). Raises ZenwebserverError where it does not answer."""
        self._threads = asyncio.get_running_loop().create_future()
        self.order("threads")
        try:
            return await asyncio.wait_for(self._threads, seconds)
        except TimeoutError:
            raise ZenwebserverError(
                f"Process {self.process.pid} does not answer within {seconds:g} s",
                hint=f"To have its stacks written to {self._log}: kill -USR1 {self.process.pid}",
            ) from None

    async def until(self, state: str, seconds: float) -> None:
        """Wait until it stands so. Raises StartError where it fails, ends, or takes longer than `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while self.state != state:
                    if self.state in ("failed", "unsafe", "gone"):
                        await self.process.wait()
                        await self._last_call()
                        raise StartError(self._how_it_failed(), detail=self.last_words())
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise StartError(f"was not {state} after {seconds:g} s", detail=await self._stacks()) from None

    def _how_it_failed(self) -> str:
        """How it ended, and the error that its traceback ends with."""
        lines = str(self.standing.get("reason", "")).splitlines()
        error = next((line for line in reversed(lines) if line.strip() and not line[0].isspace()), "")
        return f"{self.process.exited.result()}: {error}" if error else str(self.process.exited.result())

    async def _stacks(self) -> str:
        """Where it hangs: it writes that into its log."""
        start = self._log.stat().st_size if self._log.exists() else 0
        self.process.send(signal.SIGUSR1)
        await self.process.wait(STACKS_SECONDS)
        return tail(self._log, start, STACK_LINES) or self.last_words()

    async def _last_call(self) -> None:
        """What a process said right before it ended may arrive after its end."""
        if "reason" not in self.standing:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), LAST_CALL_SECONDS)

    def last_words(self) -> str:
        """Why it failed: its traceback, else the last lines that it logged."""
        if reason := self.standing.get("reason"):
            return str(reason).rstrip()
        return tail(self._log, self._log_start)


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
