"""Processes of nginx that take nothing new and answer what they have accepted."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Iterator

from zenwebserver.home import Home
from zenwebserver.machine.processes import Process
from zenwebserver.supervisor.parts import nginx_processes
from zenwebserver.supervisor.tasks import Tasks

logger = logging.getLogger(__name__)

CLOCK_SECONDS = 0.05  # by which nginx's clock may be late: it looks at it once a round, and to a few ms
END_SECONDS = 30.0  # between being told to end at once and being killed


class NginxLeaving:
    """Masters, and workers without one. They leave by themselves; the drain timeout cuts off what takes longer."""

    def __init__(self, home: Home, tasks: Tasks) -> None:
        self.drain_timeout = 600.0  # seconds
        self._home = home
        self._tasks = tasks
        self._processes: dict[Process, asyncio.Task[None]] = {}

    def __iter__(self) -> Iterator[Process]:
        return iter(self._processes)

    def __len__(self) -> int:
        return len(self._processes)

    @property
    def pids(self) -> set[int]:
        return {process.pid for process in self}

    def add(self, process: Process) -> None:
        """Tell it to leave, once."""
        if process in self._processes:
            return
        told = asyncio.get_running_loop().time()
        process.send(signal.SIGQUIT)
        what = f"The leaving of nginx, pid {process.pid}"
        self._processes[process] = self._tasks.do(what, self._see_off(process, told))

    def add_orphans(self) -> None:
        """Workers whose master was killed go on with its port; told to leave, they give it up at once."""
        orphans = [
            orphan
            for each in nginx_processes.orphans(self._home)
            if each.pid not in self.pids and (orphan := nginx_processes.adopted(each))
        ]
        if orphans:
            logger.warning("nginx workers without a master are asked to leave: %s", [orphan.pid for orphan in orphans])
        for orphan in orphans:
            self.add(orphan)

    async def end(self) -> None:
        """Returns when all have ended."""
        while self._processes:
            await asyncio.wait(self._processes.values())

    async def _see_off(self, process: Process, told: float) -> None:
        gone = await process.wait(self.drain_timeout)
        # nginx cuts them off then, too (worker_shutdown_timeout): who is first does not matter.
        if asyncio.get_running_loop().time() - told >= self.drain_timeout - CLOCK_SECONDS:
            logger.warning("nginx, pid %d, cut off the requests that outlasted the drain timeout", process.pid)
        if not gone:
            await process.end(signal.SIGTERM, END_SECONDS)
        del self._processes[process]
