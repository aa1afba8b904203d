"""Server N: a listening socket and the process behind it, kept alive over crashes, exchanged without a gap."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from zenwebserver.errors import ZenwebserverError, told
from zenwebserver.supervisor.line.worker import StartError, Worker
from zenwebserver.supervisor.parts.birth import PROMPT, Generation, booted, try_out
from zenwebserver.supervisor.parts.kept_alive import KeptAlive
from zenwebserver.supervisor.parts.leaving import Leaving
from zenwebserver.supervisor.parts.listener import Listener
from zenwebserver.supervisor.parts.release import Release
from zenwebserver.supervisor.parts.state import State
from zenwebserver.supervisor.tasks import Tasks
from zenwebserver.worker.messages import OrderName, WorkerState

logger = logging.getLogger(__name__)

# Seconds for which a dead server's socket goes on listening: a warm successor reads by then what has come in.
SUCCESSION = 1.0


class Server(KeptAlive):
    """One server of the pool. While it comes back it is still listed for nginx, which goes elsewhere if it refuses."""

    def __init__(
        self,
        number: int,
        address: tuple[str, int],
        *,
        pid_file: Path,
        tasks: Tasks,
        launch: Callable[[Server], Awaitable[Worker]],
        given_up: Callable[[Server], Awaitable[None]],
        left: Callable[[Server], None],  # told whenever a process of it that was leaving has ended
    ) -> None:
        super().__init__(f"Server {number}", tasks)
        self.number = number
        self.name = str(number)
        self.start_timeout = 300.0  # seconds
        self.release: Release | None = None
        self.worker: Worker | None = None
        self.leaving = Leaving(self.title, tasks, lambda: left(self))
        self._pid_file = pid_file
        self._launch = launch
        self._tell_given_up = given_up
        self._listener = Listener(address)
        self._former: Generation | None = None  # what rests while it is EXCHANGED
        self._way_back: asyncio.Task[ZenwebserverError | None] | None = None
        self._closing: asyncio.TimerHandle | None = None

    @property
    def address(self) -> tuple[str, int]:
        return self._listener.address

    @address.setter
    def address(self, address: tuple[str, int]) -> None:
        """Holds from the next bind."""
        self._listener.address = address

    # What an operation does with it.

    def resume(self) -> bool:
        """It was to stop and is to go on: where its process has not been told to leave, it does. Returns whether."""
        if self.state is State.STOPPING and self.worker and self.worker.process.running:
            self._become(State.RUNNING)
            return True
        if self.state is State.STOPPING:
            self._gone()
        return False

    async def exchange(self, release: Release) -> None:
        """A successor from `release` boots while it serves and takes over the listening socket; then it rests.

        `settle` or `go_back` must follow. Raises StartError; then the former process goes on serving.
        """
        if not self.serves or self.worker is None or self.release is None:
            raise StartError("does not run")
        former = Generation(self.worker, self.release)
        self._become(State.EXCHANGING)
        self.release = release
        try:
            successor = await self._booted(on_trial=True)
        except BaseException as error:
            self.release = former.release
            if self.state is State.EXCHANGING:
                self._become(State.RUNNING)
            elif self.wanted:  # the former one died meanwhile, and waited for the successor
                self._goes_down(told(error))
                self._recover(self._revive())
            raise
        self._deaths.forget()
        await self._succeeded(former, successor)

    async def _succeeded(self, former: Generation, successor: Worker) -> None:
        if self.state is not State.EXCHANGING or not former.worker.process.running:
            self._serves(successor)
            return
        self._former = former
        self._stands_behind(successor)
        self._become(State.EXCHANGED)
        self._watch(successor.process)
        former.worker.order(OrderName.REST)
        with contextlib.suppress(StartError):  # it ended, or is stuck: it takes nothing new in any case
            await former.worker.until(WorkerState.RESTING, PROMPT)

    def settle(self) -> None:
        """The exchange holds: the former process finishes what it has and ends."""
        if self.state is State.EXCHANGED:
            self._let_go_former()
            self._become(State.RUNNING)

    async def go_back(self) -> None:
        """The exchange does not hold: the former process serves again, and the successor leaves.

        Raises ZenwebserverError where that cannot be; then the successor goes on, if it lives.
        """
        if self.state is State.EXCHANGED:
            self._begin_to_go_back("")
        if self.state is State.GOING_BACK:
            assert self._way_back
            if error := await asyncio.shield(self._way_back):
                raise error

    async def retire(self) -> None:
        """It is to stop: nginx is told to send it nothing any more; then `leave`, unless it was started again."""
        if self.state is State.STOPPING:
            return
        await self._end_recovery()
        if self._former:
            self._let_go_former()
        self._become(State.STOPPING)

    async def leave(self) -> None:
        """Nobody sends it anything: it takes nothing new, and leaves by itself when it has answered all."""
        if self.state is not State.STOPPING:
            return
        if self.worker and self.worker.process.running:
            self.leaving.add(self.worker)
            with contextlib.suppress(StartError):  # it has ended; or it is stuck, and is killed in time
                await self.worker.until(WorkerState.LEAVING, PROMPT)
        self._gone()

    async def stop(self) -> None:
        """It answers what it has accepted, then it ends; whatever still runs after the drain timeout is cut off."""
        if not self.rests:
            await self.retire()
            await self.leave()
        await self.leaving.end()

    def adopt(self, worker: Worker, release: Release) -> None:
        """A process that an earlier supervisor started, found serving."""
        if found := worker.take_listener():
            self._listener.adopt(found)
        self.release = release
        self._serves(worker)

    def adopt_leaving(self, worker: Worker) -> None:
        """A process that is on its way out, or was to be."""
        if listener := worker.take_listener():
            listener.close()
        self.leaving.add(worker)

    def let_go(self) -> None:
        """Another supervisor adopts it: its socket listens as long as its process does."""
        self._listener.close()

    # How a process comes to serve.

    async def _boot(self) -> None:
        self._serves(await self._booted())

    async def _booted(self, *, on_trial: bool = False) -> Worker:
        """A process that accepts. Raises StartError or ZenwebserverError; then it has ended."""
        self._listener.bound()  # before the boot: a taken port is told at once
        assert self.release
        worker = await booted(lambda: self._launch(self), self.release, self.title, self.start_timeout)
        try:
            if on_trial:
                await try_out(worker, self.address[0], self.start_timeout)
            worker.order(OrderName.ACCEPT, self._listener.bound())
            await worker.until(WorkerState.SERVING, PROMPT)
        except BaseException:
            await worker.process.end(signal.SIGKILL, PROMPT)
            raise
        return worker

    def _serves(self, worker: Worker) -> None:
        self._stands_behind(worker)
        self._runs(worker.process)

    def _stands_behind(self, worker: Worker) -> None:
        self.worker, self.process = worker, worker.process
        worker.process.name_in(self._pid_file)
        logger.info("%s serves: pid %d, port %d", self.title, worker.process.pid, self.address[1])

    # What follows its death.

    def _died(self, reason: str) -> None:
        if self.state is State.EXCHANGED:
            logger.warning("%s: the successor died; the former process serves again", self.title)
            self._begin_to_go_back(reason)
            return
        # Its exchange, or its way back, brings it back; nothing else need begin.
        under_way = self.state in (State.EXCHANGING, State.GOING_BACK)
        self._become(self._after_death, reason)
        if not under_way:
            self._recover(self._revive())

    @property
    def _after_death(self) -> State:
        return State.REVIVING if self.release is not None and self.release.forks else State.DOWN

    def _begin_to_go_back(self, reason: str) -> None:
        self._become(State.GOING_BACK, reason)
        self._way_back = self._recover(self._go_back())

    async def _go_back(self) -> ZenwebserverError | None:
        """Ends in a state in which it serves, or comes back. Returns why the former process could not serve again."""
        former, self._former = self._former, None
        assert former and self.worker and self.release
        successor = Generation(self.worker, self.release)
        self.release = former.release
        try:
            worker = await self._former_serves(former.worker)
        except (ZenwebserverError, OSError) as error:
            return self._stays(successor, error)
        except asyncio.CancelledError:  # it is stopped
            self.leaving.add(former.worker)
            raise
        self._serves(worker)
        if successor.worker.process.running:
            self.leaving.add(successor.worker)
        return None

    async def _former_serves(self, former: Worker) -> Worker:
        """It, or another process of its release where it has ended while it rested. Raises what a boot raises."""
        former.order(OrderName.ACCEPT, self._listener.bound())
        try:
            await former.until(WorkerState.SERVING, PROMPT)
        except StartError:
            if former.process.running:
                self.leaving.add(former)
            if self.process is None and self.state is State.GOING_BACK:  # the successor died, too
                self._become(self._after_death, self.reason)
            return await self._booted()
        return former

    def _stays(self, successor: Generation, error: Exception) -> ZenwebserverError:
        if self.state is State.GOING_BACK and successor.worker.process.running:
            self.release = successor.release
            self._become(State.RUNNING)
            how = f"it goes on in release {successor.release.name}"
        else:
            self._goes_down(told(error))
            self._recover(self._revive())
            how = "it is down, and started again"
        return ZenwebserverError(
            f"{self.title} could not go back to its former process: {told(error)} ({how})",
            detail=getattr(error, "detail", ""),
        )

    def _ended_while_stopping(self) -> None:
        self._listener.close()

    async def _given_up(self) -> None:
        await self._tell_given_up(self)

    def _let_go_former(self) -> None:
        assert self._former
        self.leaving.add(self._former.worker)
        self._former = None

    # Its socket.

    def _has_become(self, former: State) -> None:
        if self._closing:
            self._closing.cancel()
            self._closing = None
        if self.state is State.REVIVING:
            loop = asyncio.get_running_loop()
            self._closing = loop.call_later(SUCCESSION, lambda: self._become(State.DOWN, self.reason))
        elif self.state is State.DOWN:
            self._listener.close()

    def _clear(self) -> None:
        self._listener.close()
        self.worker = self.process = self.release = None
        self._pid_file.unlink(missing_ok=True)

    def _gone(self) -> None:
        self._clear()
        self._become(State.STOPPED)
