"""The load balancer: one nginx master. It is reloaded and exchanged without closing its port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Iterable
from pathlib import Path

import psutil

from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.nginx import control
from zenwebserver import ports
from zenwebserver.supervisor.kept_alive import KeptAlive, State
from zenwebserver.identity import Identity
from zenwebserver.supervisor.processes import Process
from zenwebserver.supervisor.worker import tail

logger = logging.getLogger(__name__)

START_SECONDS = 30.0
LOOK_AGAIN_SECONDS = 0.02


class LoadBalancer(KeptAlive):
    """nginx. `drain_timeout` bounds every wait for requests that it still serves."""

    def __init__(self, home: Home) -> None:
        super().__init__("Load balancer")
        self.binary = Path()
        self.ports: tuple[int, ...] = ()  # what it listens on, for the reason where it cannot
        self.drain_timeout = 600.0  # seconds
        self._home = home
        self._log = home.nginx_log / "nginx.out.log"

    def adopt(self) -> None:
        """Take over the one that an earlier supervisor started, if it still runs."""
        identity = self._identity()
        if identity and (process := Process.adopt(identity)):
            self._runs(process)

    async def reload(self) -> set[psutil.Process]:
        """Have nginx read its configuration. Returns the workers that still have the former one.

        Raises ZenwebserverError where nginx keeps the former configuration; its words are told.
        """
        assert self.process
        former = self._workers(self.process.pid)
        error_log = self._home.nginx_log / "error.log"
        log_start = error_log.stat().st_size if error_log.exists() else 0
        self.process.signal(signal.SIGHUP)
        async with _bounded(START_SECONDS, "nginx did not take up its configuration"):
            while not self._workers(self.process.pid) - former:
                words = [line for line in tail(error_log, log_start).splitlines() if "[emerg]" in line]
                if words:
                    raise ZenwebserverError(
                        "nginx keeps its former configuration",
                        hint="It goes on serving as before.",
                        detail="\n".join(words),
                    )
                if await self.process.wait(LOOK_AGAIN_SECONDS):
                    raise ZenwebserverError(f"nginx {self.process.exited.result()} during its reload")
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
        former = self.process
        assert former
        log_start = self._log_size()
        former.signal(signal.SIGUSR2)
        successor = await self._successor(former, log_start)
        self._runs(successor)
        former.signal(signal.SIGQUIT)
        self._watch(self._see_off(former))

    async def stop(self) -> None:
        """nginx answers what it has accepted; what still runs after the drain timeout is cut off."""
        await self._end_revival()
        self.state = State.STOPPING
        if self.process:
            self.process.signal(signal.SIGQUIT)
            self._watch(self._see_off(self.process))
        await self._watches_end()
        await self._end_orphans()
        self._clear()
        self.state, self.reason = State.STOPPED, ""

    async def _boot(self) -> None:
        await self._end_orphans()
        for port in self.ports:
            if holder := ports.holder(port):
                raise ZenwebserverError(
                    f"Port {port} is taken by {holder}",
                    hint=f"End that, or set another port in {self._home.settings_file} and: zenwebserver configure",
                )
        log_start = self._log_size()
        process = Process.spawn(
            control.start_arguments(self.binary, self._home), log=self._log, folder=self._home.path, may_bind_low_ports=True
        )
        try:
            async with _bounded(START_SECONDS, "nginx did not start"):
                while self._pid() != process.pid or not self._workers(process.pid):
                    if await process.wait(LOOK_AGAIN_SECONDS):
                        raise ZenwebserverError(
                            f"nginx did not start: it {process.exited.result()}", detail=tail(self._log, log_start)
                        )
        except BaseException:
            await process.end(signal.SIGTERM, START_SECONDS)
            raise
        self._runs(process)

    async def _successor(self, former: Process, log_start: int) -> Process:
        """The new master, when it has workers."""
        async with _bounded(START_SECONDS, "The new nginx did not start; the former one goes on"):
            # nginx renames its pid file when the new master is about to start, and back when that one has ended.
            before_upgrade = self._home.nginx_pid.with_name(self._home.nginx_pid.name + ".oldbin")
            begun = False
            while True:
                pid = self._pid()
                if pid and pid != former.pid and self._workers(pid) and (identity := self._identity()):
                    process = Process.adopt(identity)
                    if process:
                        return process
                begun = begun or before_upgrade.exists()
                words = tail(self._log, log_start)
                if "[emerg]" in words or (begun and pid == former.pid and not before_upgrade.exists()):
                    raise ZenwebserverError("The new nginx did not start; the former one goes on", detail=words)
                if await former.wait(LOOK_AGAIN_SECONDS):
                    raise ZenwebserverError(f"nginx {former.exited.result()} while it was exchanged")

    async def _see_off(self, process: Process) -> None:
        if not await process.wait(self.drain_timeout):
            logger.warning("nginx, pid %d, still serves requests after the drain timeout; they are cut off", process.pid)
            await process.end(signal.SIGTERM, START_SECONDS)

    async def _end_orphans(self) -> None:
        """Workers whose master was killed go on with its port; they answer what they have and leave."""
        orphans = [worker for worker in self._orphans() if worker]
        for orphan in orphans:
            orphan.signal(signal.SIGQUIT)
        if orphans:
            logger.warning("nginx workers without a master are asked to leave: %s", [orphan.pid for orphan in orphans])

    def _orphans(self) -> Iterable[Process | None]:
        for process in psutil.process_iter(["name", "cmdline"]):
            title = " ".join(process.info["cmdline"] or ())
            if process.info["name"] != "nginx" or not title.startswith("nginx: ") or "master process" in title:
                continue
            with contextlib.suppress(psutil.Error):
                if process.cwd() == str(self._home.path) and not self._has_master(process):
                    identity = Identity.of(process.pid)
                    yield identity and Process.adopt(identity)

    @staticmethod
    def _has_master(worker: psutil.Process) -> bool:
        parent = worker.parent()
        return bool(parent and "master process" in " ".join(parent.cmdline()))

    @staticmethod
    def _workers(master: int) -> set[psutil.Process]:
        """The workers that accept connections."""
        found = set()
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(master).children():
                with contextlib.suppress(psutil.Error):
                    if "worker process" in (title := " ".join(child.cmdline())) and "shutting down" not in title:
                        found.add(child)
        return found

    def _pid(self) -> int | None:
        try:
            return int(self._home.nginx_pid.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None

    def _identity(self) -> Identity | None:
        """The master that the pid file names: nginx writes no start time, but it writes the file right after it started."""
        pid = self._pid()
        try:
            master = psutil.Process(pid) if pid else None
            if master and "master process" in " ".join(master.cmdline()) and str(self._home.nginx_conf) in " ".join(master.cmdline()):
                return Identity.of(master.pid)
        except psutil.Error:
            pass
        return None

    def _log_size(self) -> int:
        return self._log.stat().st_size if self._log.exists() else 0

    def _clear(self) -> None:
        self.process = None


@contextlib.asynccontextmanager
async def _bounded(seconds: float, message: str):  # type: ignore[no-untyped-def]
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise ZenwebserverError(f"{message} within {seconds:g} s") from None
