"""Server N: a listening socket and the process behind it, kept alive over crashes, exchanged without a gap."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Awaitable, Callable

from zenwebserver.home import Home
from zenwebserver.ports import bind
from zenwebserver.supervisor.kept_alive import KeptAlive, State
from zenwebserver.supervisor.worker import Worker

logger = logging.getLogger(__name__)

# Seconds: a booted server needs no longer to answer an order; a leaving one that has answered all ends within this.
PROMPT = 15.0


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
        self.leaving: set[Worker] = set()
        self._worker: Worker | None = None
        self._pid_file = home.pid_file(f"zope{number}")
        self._launch = launch
        self._tell_given_up = given_up
        self._listener: socket.socket | None = None
        self._exchanging = False

    async def exchange(self) -> None:
        """A successor boots while it serves, takes over the listening socket, and only then it leaves.

        Raises StartError; then the former process goes on serving.
        """
        if self.state is not State.RUNNING:
            return await self.start()
        former = self._worker
        self._exchanging = True
        try:
            await self._boot()
        finally:
            self._exchanging = False
            if self.process is None:
                self._died()
        self._deaths.forget()
        if former and former.process.running:
            self._let_go(former)
        return None

    async def stop(self) -> None:
        """It answers what it has accepted, then it ends; whatever still runs after the drain timeout is cut off."""
        await self._end_revival()
        self.state = State.STOPPING
        if self._worker and self._worker.process.running:
            self._let_go(self._worker)
        await self._watches_end()
        self._clear()
        self.state, self.reason = State.STOPPED, ""

    def adopt(self, worker: Worker) -> None:
        """A process that an earlier supervisor started, found serving."""
        self._listener, worker.listener = worker.listener, None
        self._serves(worker)

    def adopt_leaving(self, worker: Worker) -> None:
        """A process that is on its way out already."""
        self._let_go(worker)

    async def _boot(self) -> None:
        if self._listener is None:
            self._listener = bind(*self.address)  # before the boot: a taken port is told at once
        worker = await self._launch(self)
        try:
            await worker.until("ready", self.start_timeout)
            self._listener = self._listener or bind(*self.address)
            worker.accept(self._listener)
            await worker.until("serving", PROMPT)
        except BaseException:
            await worker.process.end(signal.SIGKILL, PROMPT)
            raise
        self._serves(worker)
        logger.info("%s serves: pid %d, port %d", self.title, worker.process.pid, self.address[1])

    def _serves(self, worker: Worker) -> None:
        self._worker = worker
        worker.process.identity.write(self._pid_file)
        self._runs(worker.process)

    def _died(self) -> None:
        self._stop_listening()
        if not self._exchanging:
            super()._died()

    async def _given_up(self) -> None:
        await self._tell_given_up(self)

    def _let_go(self, worker: Worker) -> None:
        self.leaving.add(worker)
        worker.leave(self.drain_timeout)
        self._watch(self._see_off(worker))

    async def _see_off(self, worker: Worker) -> None:
        if not await worker.process.wait(self.drain_timeout + PROMPT):
            logger.warning("%s, pid %d, did not leave in time and is killed", self.title, worker.process.pid)
            await worker.process.end(signal.SIGKILL, PROMPT)
        self.leaving.discard(worker)

    def _stop_listening(self) -> None:
        """Nobody reads: refuse connections, so that nginx goes elsewhere at once."""
        if self._listener:
            self._listener.close()
            self._listener = None

    def _clear(self) -> None:
        self._stop_listening()
        self._worker = self.process = None
        self._pid_file.unlink(missing_ok=True)
