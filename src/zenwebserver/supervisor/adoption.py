"""A new supervisor finds what an earlier one left running, and takes it over as if nothing had been."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import Any

from zenwebserver.errors import ZenwebserverError
from zenwebserver.machine.identity import Identity
from zenwebserver.machine.processes import Process
from zenwebserver.pool import Pool
from zenwebserver.supervisor.line.worker import Worker
from zenwebserver.supervisor.parts.kept_alive import State
from zenwebserver.supervisor.parts.release import Release
from zenwebserver.supervisor.supervisor import Supervisor

logger = logging.getLogger(__name__)

# Seconds. A server calls every 0.2 s (worker/report.py); one that is silent for longer is stuck.
CALL_SECONDS = 5.0
END_SECONDS = 10.0


async def adopt(supervisor: Supervisor) -> None:
    """Storage and nginx by their pid files, servers by the calls that they make."""
    readable = _read_record(supervisor)
    supervisor.storage.adopt()
    await supervisor.balancer.adopt()
    named = {
        identity.pid: path.stem
        for pattern in ("zope*.pid", "zygote*.pid")
        for path in sorted(supervisor.home.run.glob(pattern))
        if (identity := Identity.read(path))
    }
    await _all_called(supervisor, set(named))
    if not readable:
        numbers = sorted(int(name[4:]) for name in named.values() if name[4:].isdecimal())
        supervisor.pool = Pool(dict.fromkeys(numbers, True))
    calls = sorted(supervisor.calls().items(), key=lambda call: "zygote" not in call[1].standing)  # zygotes first
    for pid, call in calls:
        if (identity := Identity.of(pid)) and (process := Process.adopt(identity)):
            await _adopt_process(supervisor, process, call.standing)
        named.pop(pid, None)
    supervisor.releases.sort(key=lambda release: int(release.name))
    await supervisor.retire_releases()
    for pid, name in named.items():
        if (identity := Identity.of(pid)) and (process := Process.adopt(identity)):
            logger.warning("%s, pid %d, does not answer and is ended", name, pid)
            await process.end(signal.SIGKILL, END_SECONDS)
    for pattern in ("zope*.pid", "zygote*.pid"):
        for path in supervisor.home.run.glob(pattern):
            if Identity.read(path) is None:
                path.unlink(missing_ok=True)
    supervisor.adopted()


def _read_record(supervisor: Supervisor) -> bool:
    """Whether it is known which servers are asked for; where it is not, those that run are."""
    try:
        supervisor.read_pool()
    except ZenwebserverError as error:
        logger.error("%s", error.message)
        return False
    return True


async def _all_called(supervisor: Supervisor, pids: set[int]) -> None:
    """Wait until the processes that are known have called, and give unknown ones the time of a call."""
    deadline = asyncio.get_running_loop().time() + CALL_SECONDS
    while not pids <= set(supervisor.calls()) and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.05)


async def _adopt_process(supervisor: Supervisor, process: Process, standing: dict[str, Any]) -> None:
    home = supervisor.home
    if "zygote" in standing:
        zygote = supervisor.expect(Worker(process, home.zygote_log))
        if zygote.state == "ready":
            _release(supervisor, str(standing["zygote"])).adopt(zygote)
        else:
            await process.end(signal.SIGKILL, END_SECONDS)
        return
    name = str(standing.get("server", ""))
    await _adopt_server(supervisor, supervisor.expect(Worker(process, home.server_log(name))), name)


def _release(supervisor: Supervisor, name: str) -> Release:
    for release in supervisor.releases:
        if release.name == name:
            return release
    supervisor.releases.append(Release(name, supervisor.home, supervisor.expect))
    return supervisor.releases[-1]


async def _adopt_server(supervisor: Supervisor, worker: Worker, name: str) -> None:
    numbered = name.isdecimal()
    if numbered and worker.state == "serving" and supervisor.server(int(name)).state is State.STOPPED:
        release = _release(supervisor, str(worker.standing.get("release") or "0"))
        supervisor.server(int(name)).adopt(worker, release)
        logger.info("Server %s is adopted: pid %d", name, worker.process.pid)
    elif numbered and worker.state in ("serving", "resting", "leaving"):
        supervisor.server(int(name)).adopt_leaving(worker)
    else:  # it never served
        logger.warning("Server %s, pid %d, is not asked for and is ended", name, worker.process.pid)
        worker.order("leave", timeout=supervisor.settings.drain_timeout)
        if not await worker.process.wait(END_SECONDS):
            await worker.process.end(signal.SIGKILL, END_SECONDS)
