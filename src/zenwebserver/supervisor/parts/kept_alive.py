"""What runs and is started again when it dies: servers, storage and the load balancer share this life cycle."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from enum import StrEnum

from zenwebserver.errors import ZenwebserverError
from zenwebserver.machine.processes import Process
from zenwebserver.supervisor.parts.deaths import TOO_MANY, Deaths

logger = logging.getLogger(__name__)


class State(StrEnum):
    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    REVIVING = "reviving"  # it died; the next start is under way or waits
    STOPPING = "stopping"
    FAILED = "failed"  # it died too often; an admin must start it


class KeptAlive(ABC):
    """Subclasses boot and stop it. Methods are called under the supervisor's lock, except what watches for deaths."""

    def __init__(self, title: str) -> None:
        self.title = title  # "Server 2", "Storage", "Load balancer"
        self.state = State.STOPPED
        self.reason = ""  # why it is not running
        self.process: Process | None = None
        self._deaths = Deaths()
        self._revival: asyncio.Task[None] | None = None
        self._watches: set[asyncio.Task[None]] = set()

    @property
    def wanted(self) -> bool:
        """Whether it runs, or will again in a moment."""
        return self.state in (State.RUNNING, State.REVIVING)

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process and self.process.running else None

    async def start(self) -> None:
        """Returns when it runs. Raises ZenwebserverError; then it is stopped."""
        if self.state is State.RUNNING:
            return  # it died, and came back while its start was prepared
        await self._end_revival()
        self._deaths.forget()
        self.state, self.reason = State.STARTING, ""
        try:
            await self._boot()
        except BaseException as error:
            self._clear()
            self.state, self.reason = State.STOPPED, str(error)
            raise

    @abstractmethod
    async def stop(self) -> None:
        """Returns when it has ended, having finished what it had to do."""

    @abstractmethod
    async def _boot(self) -> None:
        """From nothing to running, ending in `_runs`. Leaves nothing behind where it raises."""

    def _clear(self) -> None:
        """Drop what belongs to a process that is gone for good: its pid file, its listening socket."""

    def _pauses(self) -> None:
        """The next start is some seconds away."""

    async def _given_up(self) -> None:
        """It died too often."""

    def _runs(self, process: Process) -> None:
        """From now on `process` is it, and its death is noticed."""
        self.process = process
        self.state, self.reason = State.RUNNING, ""
        self._watch(self._notice_death(process))

    def _died(self) -> None:
        """It is gone though nobody told it to. A subclass with a successor under way waits for that one instead."""
        self.state = State.REVIVING
        self._revival = asyncio.create_task(self._revive())

    async def _notice_death(self, process: Process) -> None:
        await process.wait()
        if process is not self.process or self.state is not State.RUNNING:
            return  # it was told to go, or its successor runs already
        self.process = None
        self.reason = f"it {process.exited.result()}"
        logger.error("%s, pid %d, %s", self.title, process.pid, process.exited.result())
        self._died()

    async def _revive(self) -> None:
        """Start it again, at once the first time, then after growing pauses, until it runs or died too often."""
        while (pause := self._deaths.record(asyncio.get_running_loop().time())) is not None:
            if pause:
                self._pauses()
                await asyncio.sleep(pause)
            try:
                await self._boot()
            except ZenwebserverError as error:
                self.reason = error.message
                logger.error("%s did not come back: %s\n%s", self.title, error.message, error.detail)
            except OSError as error:
                self.reason = str(error)
                logger.error("%s did not come back: %s", self.title, error)
            else:
                logger.info("%s is back: pid %s", self.title, self.pid)
                return
        self._clear()
        self.state = State.FAILED
        self.reason = f"{TOO_MANY} deaths in a minute; the last time {self.reason}"
        logger.error("%s is given up: %s", self.title, self.reason)
        await self._given_up()

    async def _end_revival(self) -> None:
        if self._revival and not self._revival.done():
            self._revival.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._revival
        self._revival = None

    def _watch(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._watches.add(task)
        task.add_done_callback(self._watches.discard)

    async def _watches_end(self) -> None:
        if self._watches:
            await asyncio.wait(self._watches)
