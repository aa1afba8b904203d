"""Server N: a listening socket and the process behind it, kept alive over crashes, exchanged without a gap."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Awaitable, Callable

from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.machine.ports import bind
from zenwebserver.supervisor.line.probe import probe
from zenwebserver.supervisor.line.worker import StartError, Worker
from zenwebserver.supervisor.parts.kept_alive import KeptAlive, State
from zenwebserver.supervisor.parts.release import Release

logger = logging.getLogger(__name__)

# Seconds: a booted server needs no longer to answer an order; a leaving one that has answered all ends within this.
PROMPT = 15.0
# Seconds for which a dead server's socket goes on listening: a warm successor reads by then what has come in.
SUCCESSION = 1.0
# How a process ends (processes.py) that cannot live with being forked; an admin's or the kernel's SIGKILL is none.
CRASHES = tuple(f"was killed by {name}" for name in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE", "SIGTRAP"))
# Seconds for which a new process must live on after its first answer.
PROBATION = 0.3


class Server(KeptAlive):
    """One server of the pool; REVIVING, it is still listed for nginx, which goes elsewhere while its port refuses."""

    def __init__(
        self,
        number: int,
        home: Home,
        address: tuple[str, int],
        *,
        launch: Callable[[Server], Awaitable[Worker]],
        given_up: Callable[[Server], Awaitable[None]],
    ) -> None:
        super().__init__(f"Server {number}")
        self.number = number
        self.name = str(number)
        self.address = address
        self.start_timeout = 300.0  # seconds
        self.drain_timeout = 600.0  # seconds
        self.release: Release | None = None
        self.worker: Worker | None = None
        self.leaving: set[Worker] = set()
        self._pid_file = home.pid_file(f"zope{number}")
        self._launch = launch
        self._tell_given_up = given_up
        self._listener: socket.socket | None = None
        self._exchanging = False
        self._former: tuple[Worker, Release | None] | None = None  # it rests until the exchange is settled

    async def exchange(self, release: Release) -> None:
        """A successor from `release` boots while it serves and takes over the listening socket; then it rests.

        `settle` or `go_back` must follow. Raises StartError; then the former process goes on serving.
        """
        if self.state is not State.RUNNING:
            self.release = release
            return await self.start()
        former, former_release = self.worker, self.release
        self._exchanging, self.release = True, release
        try:
            await self._boot(on_trial=True)
        except BaseException:
            self.release = former_release
            raise
        finally:
            self._exchanging = False
            if self.process is None:
                self._died()
        self._deaths.forget()
        if former and former.process.running:
            self._former = former, former_release
            former.order("rest")
            with contextlib.suppress(StartError):  # it ended, or is stuck: it takes nothing new in any case
                await former.until("resting", PROMPT)
        return None

    async def _try(self, worker: Worker) -> None:
        """The new process answers a request where no visitor can come, and lives on. Raises StartError."""
        with bind(self.address[0], 0) as aside:
            worker.order("try", aside)
            await worker.until("trying", PROMPT)
            try:
                await probe(aside.getsockname()[:2], self.start_timeout)
            except OSError as error:
                if not await worker.process.wait(PROBATION):
                    raise StartError(
                        f"did not answer: {error or type(error).__name__}", detail=worker.last_words()
                    ) from None
        if await worker.process.wait(PROBATION):
            how = worker.process.exited.result()
            raise StartError(f"{how} after its first request", detail=worker.last_words())

    def settle(self) -> None:
        """The exchange holds: the former process finishes what it has and ends."""
        if self._former:
            self._let_go(self._former[0])
            self._former = None

    async def go_back(self) -> None:
        """The exchange does not hold: the former process serves again, and the successor leaves."""
        if not self._former:
            return
        (former, release), successor = self._former, self.worker
        self._former, self.release = None, release
        await self._end_revival()
        self._listener = self._listener or bind(*self.address)
        former.order("accept", self._listener)
        try:
            await former.until("serving", PROMPT)
        except StartError:
            await self._boot()  # it died while it rested
        else:
            self._serves(former)
        if successor and successor.process.running:
            self._let_go(successor)

    async def stop(self) -> None:
        """It answers what it has accepted, then it ends; whatever still runs after the drain timeout is cut off."""
        await self._end_revival()
        self.settle()
        self.state = State.STOPPING
        if self.worker and self.worker.process.running:
            self._let_go(self.worker)
        await self._watches_end()
        self._clear()
        self.state, self.reason = State.STOPPED, ""

    def adopt(self, worker: Worker, release: Release) -> None:
        """A process that an earlier supervisor started, found serving."""
        self._listener, worker.listener = worker.listener, None
        self.release = release
        if self._listener:  # where it listens, whatever the settings say by now
            self.address = self._listener.getsockname()[:2]
        self._serves(worker)

    def adopt_leaving(self, worker: Worker) -> None:
        """A process that is on its way out, or was to be."""
        worker.drop_listener()
        self._let_go(worker)

    async def _boot(self, *, on_trial: bool = False) -> None:
        if self._listener is None:
            self._listener = bind(*self.address)  # before the boot: a taken port is told at once
        worker = await self._ready_worker()
        try:
            if on_trial:
                await self._try(worker)
            self._listener = self._listener or bind(*self.address)
            worker.order("accept", self._listener)
            await worker.until("serving", PROMPT)
        except BaseException:
            await worker.process.end(signal.SIGKILL, PROMPT)
            raise
        self._serves(worker)
        logger.info("%s serves: pid %d, port %d", self.title, worker.process.pid, self.address[1])

    async def _ready_worker(self) -> Worker:
        """A process that has booted. One that crashes right after the fork is tried once more without forking."""
        forked = self.release is not None and self.release.can_fork
        try:
            worker = await self._launch(self)
            try:
                await worker.until("ready", self.start_timeout)
            except BaseException:
                await worker.process.end(signal.SIGKILL, PROMPT)
                raise
        except StartError as error:
            if not forked or error.message not in CRASHES:
                raise
            assert self.release
            await self.release.distrust(f"{self.title} {error.message} right after the fork")
            return await self._ready_worker()
        return worker

    def _serves(self, worker: Worker) -> None:
        self.worker = worker
        worker.process.name_in(self._pid_file)
        self._runs(worker.process)

    def _died(self) -> None:
        if self._exchanging:
            return  # a successor is under way
        if self._former:
            logger.warning("%s: the successor died; the former process serves again", self.title)
            self._watch(self._go_back_after_death())
            return
        warm = self.release is not None and self.release.can_fork
        if warm:
            asyncio.get_running_loop().call_later(SUCCESSION, self._stop_listening_unless_running)
        else:
            self._stop_listening()
        super()._died()

    async def _go_back_after_death(self) -> None:
        try:
            await self.go_back()
        except ZenwebserverError as error:
            logger.error("%s: %s", self.title, error.message)
            super()._died()

    def _pauses(self) -> None:
        self._stop_listening()

    async def _given_up(self) -> None:
        await self._tell_given_up(self)

    def _let_go(self, worker: Worker) -> None:
        self.leaving.add(worker)
        worker.order("leave", timeout=self.drain_timeout)
        self._watch(self._see_off(worker))

    async def _see_off(self, worker: Worker) -> None:
        if not await worker.process.wait(self.drain_timeout + PROMPT):
            logger.warning("%s, pid %d, did not leave in time and is killed", self.title, worker.process.pid)
            await worker.process.end(signal.SIGKILL, PROMPT)
        self.leaving.discard(worker)

    def _stop_listening_unless_running(self) -> None:
        if self.process is None and not self._exchanging:
            self._stop_listening()

    def _stop_listening(self) -> None:
        """Nobody reads: refuse connections, so that nginx goes elsewhere at once."""
        if self._listener:
            self._listener.close()
            self._listener = None

    def _clear(self) -> None:
        self._stop_listening()
        self.worker = self.process = self.release = None
        self._pid_file.unlink(missing_ok=True)
