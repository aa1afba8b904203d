"""The load balancer: one nginx master. It is reloaded and exchanged without closing its port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import signal
from collections.abc import Iterable
from pathlib import Path

import psutil

from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.machine import files, ports
from zenwebserver.machine.files import make_folder
from zenwebserver.machine.processes import Process
from zenwebserver.supervisor.line.worker import log_size, tail
from zenwebserver.supervisor.parts import nginx_processes
from zenwebserver.supervisor.parts.bounded import bounded
from zenwebserver.supervisor.parts.kept_alive import KeptAlive
from zenwebserver.supervisor.parts.nginx_birth import START_SECONDS, NginxBirth
from zenwebserver.supervisor.parts.nginx_leaving import NginxLeaving
from zenwebserver.supervisor.parts.nginx_names import NginxNames
from zenwebserver.supervisor.parts.nginx_refusals import NeedsExchange, refusal
from zenwebserver.supervisor.parts.state import State
from zenwebserver.supervisor.tasks import Tasks

logger = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 0.02
# A former master stays as long as its clients' idle connections: keepalive_min_timeout, 5 s, and some more.
LEAVING_SECONDS = 15.0


class LoadBalancer(KeptAlive):
    """nginx. `leaving.drain_timeout` bounds every wait for requests that it still serves."""

    def __init__(self, home: Home, tasks: Tasks) -> None:
        super().__init__("Load balancer", tasks)
        self.binary = Path()
        self.ports: tuple[int, ...] = ()  # what it listens on, for the reason where it cannot
        self.leaving = NginxLeaving(home, tasks)
        self.names = NginxNames(lambda: self.pid)
        self.reload_pause = 0.0  # seconds from one reload to the next, at least
        self.was_killed = False  # it was killed together with its supervisor
        self.knows_its_files = False  # it has read its configuration since that was last written
        self._home = home
        self._reloaded = -math.inf
        self._birth = NginxBirth(home)
        self._error_log = home.nginx_log / "error.log"

    async def adopt(self) -> None:
        """Take over the one that an earlier supervisor started, if it still runs; workers left alone must leave."""
        found = [process for each in nginx_processes.masters(self._home) if (process := nginx_processes.adopted(each))]
        if master := await self._newest(found):
            self._runs(master)
            return
        self.was_killed = any(nginx_processes.listens(each.pid) for each in nginx_processes.orphans(self._home))
        if not self.was_killed:  # else its workers serve on until it is back
            self.leaving.add_orphans()

    async def _newest(self, masters: list[Process]) -> Process | None:
        """Of several, that are given newest first, the newest that has come up; the others must leave."""
        while len(masters) > 1 and not await self._has_workers(masters[0]):
            logger.warning("nginx, pid %d, has not come up, and is ended", masters[0].pid)
            await masters.pop(0).end(signal.SIGTERM, START_SECONDS)
        for former in masters[1:]:
            logger.warning("nginx, pid %d, is left from an exchange that was cut off, and is told to leave", former.pid)
            self.leaving.add(former)
        if masters and nginx_processes.pid_in_file(self._home) != masters[0].pid:
            try:
                files.replace(self._home.nginx_pid, f"{masters[0].pid}\n")
            except OSError as error:  # nobody is left without a supervisor for that
                logger.error("nginx's pid file could not be written: %s", error)
        return masters[0] if masters else None

    async def settle(self) -> None:
        """Of two masters, where somebody else exchanged it or an exchange came late, the new one stays."""
        if (running := self.process) is None or not (strays := self._strays()):
            return
        masters = sorted([running, *strays], key=lambda master: master.identity.started, reverse=True)
        if (master := await self._newest(masters)) and master is not running:
            self.process, self.knows_its_files = master, False
            self._watch(master)

    async def _has_workers(self, master: Process) -> bool:
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while not nginx_processes.workers(master.pid) and asyncio.get_running_loop().time() < deadline:
            if await master.wait(LOOK_AGAIN_SECONDS):
                return False
        return bool(nginx_processes.workers(master.pid))

    async def claim_ports(self) -> None:
        """Make sure that the ports are free. Raises ZenwebserverError, which names who has one."""
        await self._end_orphans()
        for port in self.ports:
            if holder := ports.holder(port):
                raise ZenwebserverError(
                    f"Port {port} is taken by {holder}",
                    hint=f"End that, or set another port in {self._home.settings_file} and: zenwebserver configure",
                )

    async def reload(self) -> bool:
        """Have nginx read its configuration; from then on visitors get what is new.

        Returns whether nginx was exchanged for that, because there was something new that it takes up only at its
        start. Raises ZenwebserverError where nginx keeps the former configuration; its words are told.
        """
        try:
            await self._reload()
        except NeedsExchange as error:
            logger.warning("nginx is exchanged for its new configuration: %s", error.detail)
            return await self.upgrade()
        return False

    async def _reload(self) -> None:
        """Raises ZenwebserverError, NeedsExchange; then nginx keeps the former configuration."""
        await self.settle()
        if (pause := self._reloaded + self.reload_pause - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(pause)
        self.knows_its_files = False
        running = self._running()
        make_folder(self._home.nginx_log)  # it opens its logs again
        former = nginx_processes.workers(running.pid, leaving=True)
        log_start = log_size(self._error_log)
        running.send(signal.SIGHUP)
        self._reloaded = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._takes_up(running, former, log_start)
        except TimeoutError:
            await self._end_deaf_workers(running, former)
        self.knows_its_files = True

    async def _takes_up(self, master: Process, former: set[psutil.Process], log_start: int) -> None:
        """Until new workers accept, and the former ones accept no more. Raises ZenwebserverError."""
        while not (now := nginx_processes.workers(master.pid)) - former or now & former:
            words = [line for line in tail(self._error_log, log_start).splitlines() if "[emerg]" in line]
            if words:
                raise refusal("\n".join(words))
            if await master.wait(LOOK_AGAIN_SECONDS):
                raise ZenwebserverError(f"nginx {master.exited.result()} during its reload")

    async def _end_deaf_workers(self, master: Process, former: set[psutil.Process]) -> None:
        """Of the `former` workers, those that have not heard of a reload; they are stuck, and answer nobody.

        Raises ZenwebserverError where there are no new ones.
        """
        workers = nginx_processes.workers(master.pid)
        if not workers - former:
            raise ZenwebserverError(f"nginx did not take up its configuration within {START_SECONDS:g} s")
        for worker in workers & former:
            logger.error("nginx's worker, pid %d, is stuck and is killed: it does not hear a reload", worker.pid)
            if process := nginx_processes.adopted(worker):
                await process.end(signal.SIGKILL, START_SECONDS)

    def outdated_workers(self) -> set[psutil.Process]:
        """The workers that have a former configuration, and finish with it what they hold."""
        if self.process is None:
            return set()
        master = self.process.pid
        outdated = nginx_processes.workers(master, leaving=True) - nginx_processes.workers(master)
        with contextlib.suppress(psutil.Error):
            outdated |= {psutil.Process(process.pid) for process in self.leaving if process.running}
        return outdated

    async def workers_gone(self, workers: Iterable[psutil.Process]) -> bool:
        """Wait until `workers` have answered what they hold and are gone; false where they take too long."""
        processes = [process for worker in workers if (process := nginx_processes.adopted(worker))]
        await self.names.connected()
        if not processes:
            return True
        _, late = await asyncio.wait([process.exited for process in processes], timeout=self.leaving.drain_timeout)
        return not late

    async def upgrade(self) -> bool:
        """Exchange the master by a new one (nginx's binary upgrade): its port never closes.

        Returns whether it did; as long as the one before it still finishes, it can only be reloaded.
        Raises ZenwebserverError where the new one does not come up; then the former goes on.
        """
        await self.settle()
        former = self._running()
        if self.leaving:  # until the former one has gone, nginx ignores the signal for another upgrade
            _, late = await asyncio.wait([master.exited for master in self.leaving], timeout=LEAVING_SECONDS)
            if late:
                await self._reload()
                return False
        self.process = await self._birth.beside(former)
        self._watch(self.process)
        self.leaving.add(former)
        self.knows_its_files = True
        return True

    def _running(self) -> Process:
        """Raises ZenwebserverError where it has died a moment ago."""
        if self.process is None:
            raise ZenwebserverError(f"The load balancer is not running: {self.reason}", hint="It is started again.")
        return self.process

    async def stop(self) -> None:
        """nginx answers what it has accepted; what still runs after the drain timeout is cut off."""
        await self._end_recovery()
        if self.state is not State.STOPPING:  # else it was begun before, and failed
            self._become(State.STOPPING)
        if self.process:
            self.leaving.add(self.process)
        for stray in self._strays():
            self.leaving.add(stray)
        self.leaving.add_orphans()
        await self.leaving.end()
        self._clear()
        self._become(State.STOPPED)

    async def _boot(self) -> None:
        for master in self._strays():  # somebody else exchanged it: then it serves
            self._runs(master)
            return
        await self.claim_ports()
        if self._home.path.is_dir():  # else it was moved away: nothing is made in its place, and nginx not started
            make_folder(self._home.nginx_log)
        self._runs(await self._birth.alone(self.binary, self.names.descriptors))
        self.knows_its_files = True

    async def _end_orphans(self) -> None:
        """Workers whose master was killed go on with its port; they give it up at once and answer what they have."""
        self.leaving.add_orphans()
        hint = f"To end them: kill -9 {' '.join(str(each.pid) for each in self.leaving)}"
        async with bounded(START_SECONDS, "nginx workers without a master kept their port", hint):
            while any(each.running and nginx_processes.listens(each.pid) for each in self.leaving):
                await asyncio.sleep(LOOK_AGAIN_SECONDS)

    def _strays(self) -> list[Process]:
        """Masters of this home that nobody here knows."""
        known = self.leaving.pids | ({self.process.pid} if self.process else set())
        found = (each for each in nginx_processes.masters(self._home) if each.pid not in known)
        return [master for each in found if (master := nginx_processes.adopted(each))]

    def _clear(self) -> None:
        self.process = None
