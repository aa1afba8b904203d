"""Processes of a server that take nothing new and finish what they have accepted."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator

from zenwebserver.supervisor.line.worker import StartError, Worker
from zenwebserver.supervisor.tasks import Tasks
from zenwebserver.worker.messages import OrderName, WorkerState

logger = logging.getLogger(__name__)

# Seconds for which a process may be too busy to hear that it is to leave; it is killed then.
HEAR_SECONDS = 30.0
END_SECONDS = 15.0  # between its last answer and its end


class Leaving:
    """They leave by themselves; one that takes longer than the drain timeout is cut off."""

    def __init__(self, whose: str, tasks: Tasks, left: Callable[[], None]) -> None:
        """`left` is told whenever one has ended."""
        self.drain_timeout = 600.0  # seconds
        self._whose = whose
        self._tasks = tasks
        self._tell_left = left
        self._workers: dict[Worker, asyncio.Task[None]] = {}

    def __iter__(self) -> Iterator[Worker]:
        return iter(self._workers)

    def __len__(self) -> int:
        return len(self._workers)

    def add(self, worker: Worker) -> None:
        """Tell it to leave."""
        self._tell(worker)
        what = f"The leaving of {self._whose}, pid {worker.process.pid}"
        self._workers[worker] = self._tasks.do(what, self._see_off(worker))

    def _tell(self, worker: Worker) -> None:
        if worker.order(OrderName.LEAVE, timeout=self.drain_timeout):
            worker.hears = lambda _: None
        else:  # its line is broken; it calls again
            worker.hears = lambda _: self._tell(worker)

    async def end(self) -> None:
        """Returns when all have ended."""
        while self._workers:
            await asyncio.wait(self._workers.values())

    async def _see_off(self, worker: Worker) -> None:
        try:
            await worker.until(WorkerState.LEAVING, HEAR_SECONDS)
            in_time = await worker.process.wait(self.drain_timeout + END_SECONDS)
        except StartError:  # it ended at once, or does not hear
            in_time = not worker.process.running
        if not in_time:
            logger.warning("%s, pid %d, did not leave in time and is killed", self._whose, worker.process.pid)
            await worker.process.end(signal.SIGKILL, END_SECONDS)
        del self._workers[worker]
        self._tell_left()
