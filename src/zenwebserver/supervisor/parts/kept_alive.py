"""What runs and is started again when it dies: servers, storage and the load balancer share this life."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any

from zenwebserver.errors import ZenwebserverError, told
from zenwebserver.machine.processes import Process
from zenwebserver.supervisor.parts.deaths import TOO_MANY, Deaths
from zenwebserver.supervisor.parts.state import COMES_BACK, MAY_BECOME, RESTS, SERVES, State
from zenwebserver.supervisor.tasks import Tasks

logger = logging.getLogger(__name__)


class KeptAlive(ABC):
    """A part; subclasses boot and end it. Methods are called under the lock for changes; deaths come at any time."""

    def __init__(self, title: str, tasks: Tasks, *, for_ever: bool = False) -> None:
        """`for_ever`: it is never given up."""
        self.title = title  # "Server 2", "Storage", "Load balancer"
        self.state = State.STOPPED
        self.reason = ""  # why it is not running
        self.process: Process | None = None
        self._tasks = tasks
        self._deaths = Deaths(for_ever=for_ever)
        self._recovery: asyncio.Task[Any] | None = None  # what brings it back

    @property
    def serves(self) -> bool:
        return self.state in SERVES

    @property
    def wanted(self) -> bool:
        """Whether it serves, or will again in a moment."""
        return self.serves or self.comes_back

    @property
    def comes_back(self) -> bool:
        return self.state in COMES_BACK

    @property
    def rests(self) -> bool:
        return self.state in RESTS

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process and self.process.running else None

    def _become(self, state: State, reason: str = "") -> None:
        """The one transition from state to state."""
        if state not in MAY_BECOME[self.state]:
            raise RuntimeError(f"{self.title} cannot become {state}: it is {self.state}")
        logger.info("%s: %s, now %s%s", self.title, self.state, state, f": {reason}" if reason else "")
        former, self.state, self.reason = self.state, state, reason
        self._has_become(former)

    def _has_become(self, former: State) -> None:
        """What goes with the transition."""

    async def start(self, *, comes_back: bool = False) -> None:
        """Returns when it serves.

        Raises ZenwebserverError; then it is stopped, or goes on coming back, if it did so or is to (`comes_back`).
        """
        if self.serves:
            return  # it died, and came back while its start was prepared
        came_back = self.comes_back or comes_back
        await self._end_recovery()
        if self.serves:
            return
        self._deaths.forget()
        self._become(State.STARTING)
        try:
            await self._boot()
        except BaseException as error:
            if came_back:
                self._goes_down(reason_of(error))
                self._recover(self._revive())
            else:
                self._clear()
                self._become(State.STOPPED, reason_of(error))
            raise

    @abstractmethod
    async def stop(self) -> None:
        """Returns when it has ended, having finished what it had to do."""

    @abstractmethod
    async def _boot(self) -> None:
        """From nothing to running, ending in `_runs`. Leaves nothing behind where it raises."""

    def _clear(self) -> None:
        """Drop what belongs to a process that is gone for good, such as its pid file."""

    async def _given_up(self) -> None:
        """It died too often."""

    def _runs(self, process: Process) -> None:
        """From now on `process` is it, and its death is noticed."""
        self.process = process
        self._become(State.RUNNING)
        self._watch(process)

    def _watch(self, process: Process) -> None:
        self._tasks.do(f"The watch over {self.title}, pid {process.pid}", self._notice_death(process))

    async def _notice_death(self, process: Process) -> None:
        await process.wait()
        if process is not self.process:
            return  # its successor runs already
        self.process = None
        how = process.exited.result()
        if self.serves:
            logger.error("%s, pid %d, %s", self.title, process.pid, how)
            self._died(f"it {how}")
        elif self.state is State.STOPPING:
            self._ended_while_stopping()

    def _died(self, reason: str) -> None:
        """It is gone though nobody told it to."""
        self._become(State.REVIVING, reason)
        self._recover(self._revive())

    def _goes_down(self, reason: str) -> None:
        """It is not back yet, and will not be in a moment."""
        if self.state is State.DOWN:
            self.reason = reason
        else:
            self._become(State.DOWN, reason)

    def _ended_while_stopping(self) -> None:
        """Whoever stops it waits for that."""

    def _recover(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        self._recovery = self._tasks.do(f"The recovery of {self.title}", work)
        return self._recovery

    async def _revive(self) -> None:
        """Start it again, at once the first time, then after growing pauses, until it runs or died too often."""
        while (pause := self._deaths.record(asyncio.get_running_loop().time())) is not None:
            if pause:
                self._goes_down(self.reason)
                await asyncio.sleep(pause)
            try:
                await self._boot()
            except (ZenwebserverError, OSError) as error:
                self.reason = reason_of(error)
                more = "\n".join(filter(None, (getattr(error, "hint", ""), getattr(error, "detail", ""))))
                logger.error("%s did not come back: %s\n%s", self.title, self.reason, more)
            except Exception as error:
                self.reason = f"{type(error).__name__}: {error}"
                logger.exception("%s did not come back, by a defect of zenwebserver", self.title)
            else:
                logger.info("%s is back: pid %s", self.title, self.pid)
                return
        self._clear()
        self._become(State.FAILED, f"{TOO_MANY} deaths in a minute; the last time {self.reason}")
        logger.error("%s is given up: %s", self.title, self.reason)
        await self._given_up()

    async def _end_recovery(self) -> None:
        """Nothing brings it back any more; what had begun to is gone."""
        if self._recovery and not self._recovery.done():
            self._recovery.cancel()
            await asyncio.wait([self._recovery])
        self._recovery = None


class DidNotStart(ZenwebserverError):
    """`why` is what `status` says of it: the message without whom it is about."""

    def __init__(self, title: str, why: str, *, hint: str = "", detail: str = "") -> None:
        super().__init__(f"{title} did not start: {why}", hint=hint, detail=detail)
        self.why = why


def reason_of(error: BaseException) -> str:
    """What stands in `reason`."""
    return error.why if isinstance(error, DidNotStart) else told(error)
