"""How a master of nginx comes to serve: alone, or beside the one that it is to succeed."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path

from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.machine.processes import Process
from zenwebserver.nginx import control
from zenwebserver.supervisor.line.worker import log_size, tail
from zenwebserver.supervisor.parts import nginx_processes
from zenwebserver.supervisor.parts.bounded import bounded

START_SECONDS = 30.0
LOOK_AGAIN_SECONDS = 0.02
ENDED_WELL = "ended with exit code 0"


class NginxBirth:
    """One that does not come up leaves no process behind."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._log = home.nginx_log / "nginx.out.log"

    async def alone(self, binary: Path, descriptors: Sequence[int]) -> Process:
        """A master that inherits `descriptors`. Raises ZenwebserverError."""
        log_start = log_size(self._log)
        starter = Process.spawn(
            control.start_arguments(binary, self._home),
            log=self._log,
            folder=self._home.path,
            descriptors=descriptors,
            may_bind_low_ports=True,
        )
        try:
            return await self._master(starter, log_start)
        except BaseException:
            await starter.end(signal.SIGKILL, START_SECONDS)
            if half_started := self._named():
                await half_started.end(signal.SIGTERM, START_SECONDS)
            raise

    async def beside(self, former: Process) -> Process:
        """A master that has the sockets of `former`, by nginx's binary upgrade. Raises ZenwebserverError."""
        log_start = log_size(self._log)
        former.send(signal.SIGUSR2)
        try:
            return await self._successor(former, log_start)
        except BaseException:
            for master in nginx_processes.masters(self._home):
                if master.pid != former.pid and (half_started := nginx_processes.adopted(master)):
                    await half_started.end(signal.SIGTERM, START_SECONDS)
            raise

    async def _master(self, starter: Process, log_start: int) -> Process:
        """The process that `starter` leaves in the background. Raises ZenwebserverError."""
        in_time = await starter.wait(START_SECONDS)
        if not in_time or starter.exited.result() != ENDED_WELL:
            await starter.end(signal.SIGKILL, START_SECONDS)
            how = starter.exited.result() if in_time else f"was not ready after {START_SECONDS:g} s"
            raise ZenwebserverError(f"nginx did not start: it {how}", detail=tail(self._log, log_start))
        async with bounded(START_SECONDS, "nginx wrote no pid file"):
            while not (process := self._named()):
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
        return process

    async def _successor(self, former: Process, log_start: int) -> Process:
        """The new master, when it has workers."""
        async with bounded(START_SECONDS, "The new nginx did not start", "The former one goes on."):
            # nginx renames its pid file when the new master is about to start, and back when that one has ended.
            before_upgrade = self._home.nginx_pid.with_name(self._home.nginx_pid.name + ".oldbin")
            begun = False
            while True:
                pid = nginx_processes.pid_in_file(self._home)
                if pid and pid != former.pid and nginx_processes.workers(pid) and (process := self._named()):
                    return process
                begun = begun or before_upgrade.exists()
                words = tail(self._log, log_start)
                if "[emerg]" in words or (begun and pid == former.pid and not before_upgrade.exists()):
                    raise ZenwebserverError("The new nginx did not start; the former one goes on", detail=words)
                if await former.wait(LOOK_AGAIN_SECONDS):
                    raise ZenwebserverError(f"nginx {former.exited.result()} while it was exchanged")

    def _named(self) -> Process | None:
        master = nginx_processes.named_master(self._home)
        return nginx_processes.adopted(master) if master else None
