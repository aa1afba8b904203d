"""The load balancer: one nginx master. It is reloaded and exchanged without closing its port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import psutil

from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.machine import ports
from zenwebserver.machine.identity import Identity
from zenwebserver.machine.processes import Process
from zenwebserver.nginx import control
from zenwebserver.supervisor.line.worker import tail
from zenwebserver.supervisor.parts.kept_alive import KeptAlive, State

logger = logging.getLogger(__name__)

START_SECONDS = 30.0
LOOK_AGAIN_SECONDS = 0.02
# A former master stays as long as its clients' idle connections: keepalive_min_timeout, 5 s, and some more.
LEAVING_SECONDS = 15.0
START_TIME_PRECISION = 1.0  # seconds, of psutil.Process.create_time()
ENDED_WELL = "ended with exit code 0"


class LoadBalancer(KeptAlive):
    """nginx. `drain_timeout` bounds every wait for requests that it still serves."""

    def __init__(self, home: Home) -> None:
        super().__init__("Load balancer")
        self.binary = Path()
        self.ports: tuple[int, ...] = ()  # what it listens on, for the reason where it cannot
        self.drain_timeout = 600.0  # seconds
        self._home = home
        self._log = home.nginx_log / "nginx.out.log"
        self._leaving: set[Process] = set()

    async def adopt(self) -> None:
        """Take over the one that an earlier supervisor started, if it still runs; workers it left alone must leave."""
        if process := self._named():
            self._runs(process)
        else:
            await self._end_orphans()

    async def claim_ports(self) -> None:
        """Make sure that the ports are free. Raises ZenwebserverError, which names who has one."""
        await self._end_orphans()
        for port in self.ports:
            if holder := ports.holder(port):
                raise ZenwebserverError(
                    f"Port {port} is taken by {holder}",
                    hint=f"End that, or set another port in {self._home.settings_file} and: zenwebserver configure",
                )

    async def reload(self) -> set[psutil.Process]:
        """Have nginx read its configuration. Returns the workers that have a former one, also of an earlier reload.

        Raises ZenwebserverError where nginx keeps the former configuration; its words are told.
        """
        running = self._running()
        masters = {running, *self._leaving}
        former = {worker for master in masters for worker in self._workers(master.pid, leaving=True)}
        error_log = self._home.nginx_log / "error.log"
        log_start = error_log.stat().st_size if error_log.exists() else 0
        running.send(signal.SIGHUP)
        async with _bounded(START_SECONDS, "nginx did not take up its configuration"):
            # Until new workers accept, and the former ones accept no more: from then on visitors get what is new.
            while not (workers := self._workers(running.pid)) - former or workers & former:
                words = [line for line in tail(error_log, log_start).splitlines() if "[emerg]" in line]
                if words:
                    raise ZenwebserverError(
                        "nginx keeps its former configuration",
                        hint="It goes on serving as before.",
                        detail="\n".join(words),
                    )
                if await running.wait(LOOK_AGAIN_SECONDS):
                    raise ZenwebserverError(f"nginx {running.exited.result()} during its reload")
        return former

    async def workers_gone(self, workers: Iterable[psutil.Process]) -> bool:
        """Wait until `workers` have answered what they hold and are gone; false where they take too long."""
        processes = [Process.adopt(identity) for worker in workers if (identity := Identity.of(worker.pid))]
        waiting = [process.exited for process in processes if process]
        if not waiting:
            return True
        _, late = await asyncio.wait(waiting, timeout=self.drain_timeout)
        return not late

    async def upgrade(self) -> None:
        """Exchange the master by a new one (nginx's binary upgrade): its port never closes.

        Raises ZenwebserverError where the new one does not come up; then the former goes on.
        """
        former = self._running()
        if self._leaving:  # until the former one has gone, nginx ignores the signal for another upgrade
            _, late = await asyncio.wait([master.exited for master in self._leaving], timeout=LEAVING_SECONDS)
            if late:
                await self.reload()
                return
        log_start = self._log_size()
        former.send(signal.SIGUSR2)
        successor = await self._successor(former, log_start)
        self._runs(successor)
        self._let_go(former)

    def _running(self) -> Process:
        """Raises ZenwebserverError where it has died a moment ago."""
        if self.process is None:
            raise ZenwebserverError(f"The load balancer is not running: {self.reason}", hint="It is started again.")
        return self.process

    async def stop(self) -> None:
        """nginx answers what it has accepted; what still runs after the drain timeout is cut off."""
        await self._end_revival()
        self.state = State.STOPPING
        if self.process:
            self._let_go(self.process)
        await self._watches_end()
        await self._end_orphans()
        self._clear()
        self.state, self.reason = State.STOPPED, ""

    async def _boot(self) -> None:
        await self.claim_ports()
        log_start = self._log_size()
        starter = Process.spawn(
            control.start_arguments(self.binary, self._home),
            log=self._log,
            folder=self._home.path,
            may_bind_low_ports=True,
        )
        try:
            master = await self._master(starter, log_start)
        except BaseException:
            await starter.end(signal.SIGKILL, START_SECONDS)
            if half_started := self._named():
                await half_started.end(signal.SIGTERM, START_SECONDS)
            raise
        self._runs(master)

    async def _master(self, starter: Process, log_start: int) -> Process:
        """The process that `starter` leaves in the background. Raises ZenwebserverError."""
        if not await starter.wait(START_SECONDS) or starter.exited.result() != ENDED_WELL:
            await starter.end(signal.SIGKILL, START_SECONDS)
            raise ZenwebserverError(
                f"nginx did not start: it {starter.exited.result()}", detail=tail(self._log, log_start)
            )
        async with _bounded(START_SECONDS, "nginx wrote no pid file"):
            while not (process := self._named()):
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
        return process

    async def _successor(self, former: Process, log_start: int) -> Process:
        """The new master, when it has workers."""
        async with _bounded(START_SECONDS, "The new nginx did not start; the former one goes on"):
            # nginx renames its pid file when the new master is about to start, and back when that one has ended.
            before_upgrade = self._home.nginx_pid.with_name(self._home.nginx_pid.name + ".oldbin")
            begun = False
            while True:
                pid = self._pid()
                if pid and pid != former.pid and self._workers(pid) and (process := self._named()):
                    return process
                begun = begun or before_upgrade.exists()
                words = tail(self._log, log_start)
                if "[emerg]" in words or (begun and pid == former.pid and not before_upgrade.exists()):
                    raise ZenwebserverError("The new nginx did not start; the former one goes on", detail=words)
                if await former.wait(LOOK_AGAIN_SECONDS):
                    raise ZenwebserverError(f"nginx {former.exited.result()} while it was exchanged")

    def _let_go(self, master: Process) -> None:
        self._leaving.add(master)
        master.send(signal.SIGQUIT)
        self._watch(self._see_off(master))

    async def _see_off(self, process: Process) -> None:
        if not await process.wait(self.drain_timeout):
            logger.warning(
                "nginx, pid %d, still serves requests after the drain timeout; they are cut off", process.pid
            )
            await process.end(signal.SIGTERM, START_SECONDS)
        self._leaving.discard(process)

    async def _end_orphans(self) -> None:
        """Workers whose master was killed go on with its port; they give it up at once and answer what they have."""
        orphans = list(self._orphans())
        if not orphans:
            return
        logger.warning("nginx workers without a master are asked to leave: %s", [orphan.pid for orphan in orphans])
        for orphan in orphans:
            orphan.send(signal.SIGQUIT)
            self._watch(self._see_off(orphan))
        async with _bounded(START_SECONDS, "nginx workers without a master kept their port"):
            while any(_listens(orphan) for orphan in orphans):
                await asyncio.sleep(LOOK_AGAIN_SECONDS)

    def _orphans(self) -> Iterable[Process]:
        for process in psutil.process_iter(["name", "cmdline"]):
            title = " ".join(process.info["cmdline"] or ())
            if process.info["name"] != "nginx" or not title.startswith("nginx: ") or "master process" in title:
                continue
            with contextlib.suppress(psutil.Error, OSError):
                if Path(process.cwd()).samefile(self._home.path) and not self._has_master(process):
                    identity = Identity.of(process.pid)
                    if identity and (orphan := Process.adopt(identity)):
                        yield orphan

    @staticmethod
    def _has_master(worker: psutil.Process) -> bool:
        parent = worker.parent()
        return bool(parent and "master process" in " ".join(parent.cmdline()))

    @staticmethod
    def _workers(master: int, *, leaving: bool = False) -> set[psutil.Process]:
        """The workers that accept connections; with `leaving` also those that only finish what they have."""
        found = set()
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(master).children():
                with contextlib.suppress(psutil.Error):
                    title = " ".join(child.cmdline())
                    if "worker process" in title and (leaving or "shutting down" not in title):
                        found.add(child)
        return found

    def _pid(self) -> int | None:
        try:
            return int(self._home.nginx_pid.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None

    def _named(self) -> Process | None:
        """The master that the pid file names. nginx writes no start time, but the file right after its start."""
        pid = self._pid()
        try:
            master = psutil.Process(pid) if pid else None
            command = " ".join(master.cmdline()) if master else ""
            if not master or "master process" not in command or str(self._home.nginx_conf) not in command:
                return None
            if master.create_time() > self._home.nginx_pid.stat().st_mtime + START_TIME_PRECISION:
                return None
            identity = Identity.of(master.pid)
        except (psutil.Error, OSError):
            return None
        return Process.adopt(identity) if identity else None

    def _log_size(self) -> int:
        return self._log.stat().st_size if self._log.exists() else 0

    def _clear(self) -> None:
        self.process = None


@contextlib.asynccontextmanager
async def _bounded(seconds: float, message: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise ZenwebserverError(f"{message} within {seconds:g} s") from None


def _listens(process: Process) -> bool:
    if not process.running:
        return False
    try:
        return any(each.status == psutil.CONN_LISTEN for each in psutil.Process(process.pid).net_connections("tcp"))
    except psutil.Error:
        return False
