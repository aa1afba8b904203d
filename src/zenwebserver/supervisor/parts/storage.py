"""Storage: the ZEO server that makes a site's Data.fs shareable, on a Unix socket of the home."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket

import psutil

from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.machine.identity import Identity, working_folder
from zenwebserver.machine.processes import Process
from zenwebserver.supervisor.line import launch
from zenwebserver.supervisor.line.worker import log_size, tail
from zenwebserver.supervisor.parts.kept_alive import KeptAlive
from zenwebserver.supervisor.parts.state import State
from zenwebserver.supervisor.tasks import Tasks

START_SECONDS = 60.0
STOP_SECONDS = 60.0
LOOK_AGAIN_SECONDS = 0.02


class Storage(KeptAlive):
    """One ZEO server; it runs only where the site's own configuration opens a Data.fs itself."""

    def __init__(self, home: Home, tasks: Tasks) -> None:
        super().__init__("Storage", tasks)
        self.python = ""  # the site's
        self._home = home
        self._pid_file = home.pid_file("storage")

    def adopt(self) -> None:
        """Take over the one that an earlier supervisor started, if it still runs; no second one could open Data.fs."""
        named = Identity.read(self._pid_file)
        identity = named if named and named.works_in(self._home.path) else self._found()
        if identity and (process := Process.adopt(identity)):
            process.name_in(self._pid_file)
            self._runs(process)

    def _found(self) -> Identity | None:
        """By what it was told to be, where its pid file is lost."""
        told = launch.storage_arguments(self.python, self._home.storage_conf)[-1]
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.cmdline()[-1:] != [told] or process.uids().real != os.geteuid():
                    continue
                if not self._home.is_other_than(working_folder(process.pid)):
                    return Identity.of(process.pid)
        return None

    async def stop(self) -> None:
        await self._end_recovery()
        self._become(State.STOPPING)
        if self.process:
            await self.process.end(signal.SIGTERM, STOP_SECONDS)
        self._clear()
        self._become(State.STOPPED)

    async def _boot(self) -> None:
        log = self._home.storage_log
        log_start = log_size(log)
        process = Process.spawn(
            launch.storage_arguments(self.python, self._home.storage_conf),
            log=log,
            folder=self._home.path,
            environment=launch.environment(self._home),
        )
        process.name_in(self._pid_file)
        try:
            await asyncio.wait_for(self._answers(process), START_SECONDS)
            self._home.storage_socket.chmod(0o600)
        except BaseException as error:
            hangs = process.running
            await process.end(signal.SIGKILL, STOP_SECONDS)
            if isinstance(error, TimeoutError | ProcessLookupError):
                how = f"does not answer after {START_SECONDS:g} s" if hangs else process.exited.result()
                raise ZenwebserverError(
                    f"Storage did not start: it {how}",
                    hint=f"Its log: {log}",
                    detail=tail(log, log_start),
                ) from error
            raise
        self._runs(process)

    async def _answers(self, process: Process) -> None:
        """Wait until its socket takes connections, which nothing announces. Raises ProcessLookupError if it ends."""
        while not can_connect(str(self._home.storage_socket)):
            if await process.wait(LOOK_AGAIN_SECONDS):
                raise ProcessLookupError

    def _clear(self) -> None:
        self.process = None
        self._pid_file.unlink(missing_ok=True)


def can_connect(path: str) -> bool:
    """Whether something listens on the Unix socket `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # one that is stuck takes some connections, and would let the next wait for ever
        try:
            probe.connect(path)
        except OSError:
            return False
        return True
