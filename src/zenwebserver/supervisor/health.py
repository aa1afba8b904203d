"""Servers that hang, and servers that have grown old, are replaced while they serve; a silent one is killed.

So is a silent storage, and one that is stuck.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import weakref
from dataclasses import dataclass

from zenwebserver.errors import ZenwebserverError, told
from zenwebserver.settings import Settings
from zenwebserver.supervisor.line.worker import StartError, Worker
from zenwebserver.supervisor.parts.server import Server
from zenwebserver.supervisor.parts.state import State
from zenwebserver.supervisor.supervisor import Supervisor
from zenwebserver.worker.messages import Figures

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
# A look that comes so late was not the server's fault: this process, or the whole machine, was frozen.
LATE_SECONDS = 2.0
# A server reports every 5 s (worker/server.py); one that is silent for so long does not run Python any more.
SILENT_SECONDS = 30.0
# Storage does one thing at a time. The end of a large transaction may take its disk a while, and is not to be begun
# again and again: as long as ZEO gives a client for one (transaction-timeout, site/zope_conf.py).
STUCK_SECONDS = 300.0
STACKS_SECONDS = 1.0  # for writing the stacks into the server's log
TRY_AGAIN_SECONDS = 60.0
MOST_JITTER = 10  # per cent of maxRequests


@dataclass(frozen=True)
class Verdict:
    """Why a server is replaced, and whether its process can still be asked to leave."""

    why: str
    hangs: bool = False
    answers: bool = True


def verdict(figures: Figures, silent: float, pid: int, settings: Settings) -> Verdict | None:
    """What `figures` and `silent` seconds without a word say of process `pid`. Pure."""
    if silent > SILENT_SECONDS:
        return Verdict(f"it has not reported for {silent:.0f} s", hangs=True, answers=False)
    busy = figures.all_busy_seconds
    if settings.hung_timeout and busy > settings.hung_timeout:
        return Verdict(f"all its threads have been busy for {busy:.0f} s", hangs=True)
    # Neighbours were started together and share the load: each has its own limit, so that they are not old at once.
    limit = settings.max_requests * (100 + pid % (MOST_JITTER + 1)) // 100
    if limit and figures.requests >= limit:
        return Verdict(f"it has answered {figures.requests} requests")
    if settings.max_memory and figures.memory >= settings.max_memory:
        return Verdict(f"it has {figures.memory / 1024**2:.0f} MB of memory")
    return None


def silence_or_standstill(figures: Figures, silent: float) -> str:
    """Why storage is killed; empty: it is not. Pure."""
    if silent > SILENT_SECONDS:
        return f"it has not reported for {silent:.0f} s"
    if figures.all_busy_seconds > STUCK_SECONDS:
        return f"it has been busy with one thing for {figures.all_busy_seconds:.0f} s"
    return ""


class Health:
    """Looks at every server and at storage, again and again."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._under_way: set[int] = set()  # servers that are being replaced
        self._killed: weakref.WeakSet[Worker] = weakref.WeakSet()  # storages
        self._not_before: dict[int, float] = {}  # server -> loop time of the next try

    async def watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LOOK_SECONDS
            await asyncio.sleep(LOOK_SECONDS)
            late = loop.time() - due
            for server in list(self._supervisor.servers.values()):
                if late > LATE_SECONDS and server.worker:
                    server.worker.forgive_silence()
                self._look_at(server)
            self._look_at_storage(late > LATE_SECONDS)

    def _look_at_storage(self, late: bool) -> None:
        worker = self._supervisor.storage.worker
        if worker is None or not worker.process.running or worker in self._killed:
            return
        if late:
            worker.forgive_silence()
        silent = asyncio.get_running_loop().time() - worker.heard_at
        if why := silence_or_standstill(worker.figures, silent):
            self._killed.add(worker)
            self._supervisor.tasks.do("The end of a storage that hangs", self._kill("Storage", worker, why))

    async def _kill(self, title: str, worker: Worker, why: str) -> None:
        """Its stacks first, which it writes even where Python is stuck; its death is noticed, and it comes back."""
        logger.warning("%s, pid %d, is killed: %s", title, worker.process.pid, why)
        worker.process.send(signal.SIGUSR1)
        await worker.process.wait(STACKS_SECONDS)
        await worker.process.end(signal.SIGKILL, STACKS_SECONDS)

    def _look_at(self, server: Server) -> None:
        worker = server.worker
        if worker is None or server.process is not worker.process or server.number in self._under_way:
            return
        now = asyncio.get_running_loop().time()
        found = verdict(worker.figures, now - worker.heard_at, worker.process.pid, self._supervisor.settings)
        if found is None:
            return
        if found.answers and (not server.serves or now < self._not_before.get(server.number, 0.0)):
            return
        self._under_way.add(server.number)
        task = self._supervisor.tasks.do(f"The replacement of {server.title}", self._replace(server, worker, found))
        task.add_done_callback(lambda _: self._under_way.discard(server.number))

    async def _replace(self, server: Server, worker: Worker, found: Verdict) -> None:
        logger.warning("%s, pid %d, is replaced: %s", server.title, worker.process.pid, found.why)
        if found.hangs:
            worker.process.send(signal.SIGUSR1)  # it writes its stacks, even where Python is stuck
            await worker.process.wait(STACKS_SECONDS)
        if not found.answers:
            await worker.process.end(signal.SIGKILL, STACKS_SECONDS)  # its death is noticed, and it comes back
            return
        async with self._supervisor.changes.make(f"replacing {server.title}"):
            if server.worker is worker and server.serves:
                await self._exchange(server, worker)

    async def _exchange(self, server: Server, worker: Worker) -> None:
        assert server.release
        try:
            await server.exchange(server.release)
            if server.state is State.GOING_BACK:
                await server.go_back()  # it does so already; returns when it has
            if server.worker is worker:
                raise StartError("its successor died at once")
        except (ZenwebserverError, OSError) as error:
            self._not_before[server.number] = asyncio.get_running_loop().time() + TRY_AGAIN_SECONDS
            how = "; its former process goes on" if server.serves and server.worker is worker else ""
            logger.error("%s could not be replaced: %s%s", server.title, told(error), how)
        else:
            server.settle()
