"""Storage: the ZEO server that makes a site's Data.fs shareable, on a Unix socket of the home.

Nothing works without it, so it is never given up; and there is one: whatever else serves this home's files is ended.
"""

from __future__ import annotations

import logging
import os
import signal

from zenwebserver.home import Home
from zenwebserver.machine.identity import Identity, last_argument, started_with, working_folder
from zenwebserver.machine.processes import Process
from zenwebserver.supervisor.line import launch
from zenwebserver.supervisor.line.reception import Reception
from zenwebserver.supervisor.line.worker import StartError, Worker
from zenwebserver.supervisor.parts.kept_alive import DidNotStart, KeptAlive
from zenwebserver.supervisor.parts.state import State
from zenwebserver.supervisor.tasks import Tasks
from zenwebserver.worker.messages import WorkerState

logger = logging.getLogger(__name__)

# Seconds. A large Data.fs whose index is lost is read from end to end; one that says nothing meanwhile is killed sooner
# (health.py).
START_SECONDS = 3600.0
STOP_SECONDS = 60.0
STRANGER_SECONDS = 10.0


class Storage(KeptAlive):
    """One ZEO server; it runs only where the site's own configuration opens a Data.fs itself."""

    def __init__(self, home: Home, reception: Reception, tasks: Tasks) -> None:
        super().__init__("Storage", tasks, for_ever=True)
        self.python = ""  # the site's
        self.worker: Worker | None = None  # None: of a version in which storage did not call
        self._home = home
        self._reception = reception
        self._pid_file = home.pid_file("storage")

    # What an earlier supervisor left.

    def found(self) -> list[Identity]:
        """Storages of this home, by pid file and by what they were told to be; at most one has the files open."""
        named = Identity.read(self._pid_file)
        told = started_with(self._home.storage_mark, os.geteuid())
        told = [each for each in told if not self._home.is_other_than(working_folder(each.pid))]
        return [named, *told] if named and named not in told and named.works_in(self._home.path) else told

    def adopt_silent(self) -> set[Identity]:
        """Take over one that never calls, of an earlier version. Returns those that will call."""
        calling = set()
        for identity in self.found():
            if launch.calls(last_argument(identity.pid)):
                calling.add(identity)
            elif self.state is State.STOPPED and (process := Process.adopt(identity)):
                process.name_in(self._pid_file)
                self._runs(process)
        return calling

    async def adopt(self, worker: Worker) -> None:
        """One that has called. It serves, or it is ended: no second one could open the files."""
        if worker.state is WorkerState.SERVING and self.state is State.STOPPED:
            self._serves(worker)
            logger.info("Storage is adopted: pid %d", worker.process.pid)
        else:
            logger.warning("A storage, pid %d, is %s and is ended", worker.process.pid, worker.state)
            await worker.process.end(signal.SIGTERM, STOP_SECONDS)

    def is_missed(self) -> None:
        """It does not run though servers do, which are of no use without it: it comes back."""
        if self.state is State.STOPPED:
            self._become(State.STARTING)
            self._goes_down("it did not run when the supervisor began")
            self._recover(self._revive())

    # What an operation does with it.

    async def stop(self) -> None:
        await self._end_recovery()
        self._become(State.STOPPING)
        if self.process:
            await self.process.end(signal.SIGTERM, STOP_SECONDS)
        await self.end_strangers()
        self._clear()
        self._become(State.STOPPED)

    async def restart(self) -> None:
        """Raises ZenwebserverError. Where it ran, or was to, it comes back once it can."""
        needed = self.wanted
        if not self.rests:
            await self.stop()
        await self.start(comes_back=needed)

    async def end_strangers(self) -> None:
        """Storages of this home that nobody here started or adopted."""
        ours = {process.identity for process in (self.process, self.worker and self.worker.process) if process}
        for identity in self.found():
            if identity not in ours and (process := Process.adopt(identity)):
                logger.warning("A storage that nobody knows, pid %d, is ended", identity.pid)
                await process.end(signal.SIGTERM, STRANGER_SECONDS)

    async def _boot(self) -> None:
        await self.end_strangers()
        self.worker = worker = self._spawn()
        try:
            await worker.until(WorkerState.SERVING, START_SECONDS)
        except BaseException as error:
            await worker.process.end(signal.SIGKILL, STOP_SECONDS)
            self.worker = None
            if isinstance(error, StartError):
                raise self._did_not_start(worker, error) from error
            raise
        self._serves(worker)

    def _spawn(self) -> Worker:
        if not self.python:
            raise DidNotStart("Storage", "the settings cannot be read", hint="To see why: zenwebserver verify")
        worker = self._reception.expect(self._home.storage_log)
        try:
            process = Process.spawn(
                launch.storage_arguments(self._home, self.python, token=worker.token),
                log=self._home.storage_log,
                folder=self._home.path,
                environment=launch.environment(self._home),
            )
        except BaseException:
            self._reception.forget(worker)
            raise
        process.name_in(self._pid_file)
        return self._reception.born(worker, process)

    def _did_not_start(self, worker: Worker, error: StartError) -> DidNotStart:
        """It says itself what is wrong, and in the next line what to do (worker/unopened.py); or a traceback."""
        reason = worker.standing.reason
        if reason and not reason.startswith("Traceback"):
            why, _, to_do = reason.partition("\n")
            return DidNotStart("Storage", why, hint=to_do or f"Its log: {self._home.storage_log}")
        return DidNotStart(
            "Storage", f"it {error.message}", hint=f"Its log: {self._home.storage_log}", detail=error.detail
        )

    def _serves(self, worker: Worker) -> None:
        self.worker = worker
        worker.process.name_in(self._pid_file)
        self._runs(worker.process)

    def _clear(self) -> None:
        self.process = self.worker = None
        self._pid_file.unlink(missing_ok=True)
