"""A new supervisor finds what an earlier one left running, and takes it over as if nothing had been."""

from __future__ import annotations

import asyncio
import logging
import signal

from zenwebserver.errors import ZenwebserverError
from zenwebserver.machine.identity import Identity
from zenwebserver.machine.processes import Process
from zenwebserver.pool import Pool
from zenwebserver.supervisor.line.switchboard import Call
from zenwebserver.supervisor.parts.release import Release
from zenwebserver.supervisor.parts.server import Server
from zenwebserver.supervisor.parts.state import State
from zenwebserver.supervisor.supervisor import Supervisor
from zenwebserver.worker.messages import OrderName, WorkerState

logger = logging.getLogger(__name__)

# Seconds. A server calls every 0.2 s (worker/line.py); one that is silent for longer is stuck.
CALL_SECONDS = 5.0
END_SECONDS = 10.0
LOOK_AGAIN_SECONDS = 0.05


async def adopt(supervisor: Supervisor) -> None:
    """Storage by its pid file, nginx by its name, servers and zygotes by the calls that they make."""
    readable = _read_record(supervisor)
    supervisor.storage.adopt()
    await supervisor.balancer.adopt()
    named = _named(supervisor)
    await _all_called(supervisor, set(named))
    if not readable:
        numbers = sorted(int(name[4:]) for name in named.values() if name[4:].isdecimal())
        supervisor.pool = Pool(dict.fromkeys(numbers, True))
    calls = sorted(supervisor.reception.waiting(), key=lambda call: not call.standing.zygote)  # zygotes first
    for call in calls:
        if (identity := Identity.of(call.pid)) and (process := Process.adopt(identity)):
            await _adopt_process(supervisor, call, process)
        named.pop(call.pid, None)
    supervisor.releases.sort(key=lambda release: int(release.name))
    await supervisor.retire_releases()
    for pid, name in named.items():
        if (identity := Identity.of(pid)) and (process := Process.adopt(identity)):
            logger.warning("%s, pid %d, does not answer and is ended", name, pid)
            await process.end(signal.SIGKILL, END_SECONDS)
    _forget_the_dead(supervisor)
    supervisor.reception.adopted()


def _read_record(supervisor: Supervisor) -> bool:
    """Whether it is known which servers are asked for; where it is not, those that run are."""
    try:
        supervisor.read_pool()
    except ZenwebserverError as error:
        logger.error("%s", error.message)
        return False
    return True


def _named(supervisor: Supervisor) -> dict[int, str]:
    """Servers and zygotes that live, by their pid files."""
    return {
        identity.pid: path.stem
        for pattern in ("zope*.pid", "zygote*.pid")
        for path in sorted(supervisor.home.run.glob(pattern))
        if (identity := Identity.read(path))
    }


def _forget_the_dead(supervisor: Supervisor) -> None:
    for pattern in ("zope*.pid", "zygote*.pid"):
        for path in supervisor.home.run.glob(pattern):
            if Identity.read(path) is None:
                path.unlink(missing_ok=True)


async def _all_called(supervisor: Supervisor, pids: set[int]) -> None:
    """Wait until the processes that are known have called, and give unknown ones the time of a call."""
    deadline = asyncio.get_running_loop().time() + CALL_SECONDS
    while not pids <= {call.pid for call in supervisor.reception.waiting()}:
        if asyncio.get_running_loop().time() > deadline:
            return
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def _adopt_process(supervisor: Supervisor, call: Call, process: Process) -> None:
    if call.standing.zygote:
        await _adopt_zygote(supervisor, call, process)
    else:
        await _adopt_server(supervisor, call, process)


async def _adopt_zygote(supervisor: Supervisor, call: Call, process: Process) -> None:
    name, home = call.standing.zygote, supervisor.home
    zygote = supervisor.reception.adopt(call, process, home.zygote_log)
    if zygote.state is WorkerState.READY and name.isdecimal():
        supervisor.release(name).adopt(zygote)
    else:
        await process.end(signal.SIGKILL, END_SECONDS)


async def _adopt_server(supervisor: Supervisor, call: Call, process: Process) -> None:
    name = call.standing.server
    worker = supervisor.reception.adopt(call, process, supervisor.home.server_log(name if name.isdecimal() else "-"))
    server = _server(supervisor, name)
    if server and worker.state is WorkerState.SERVING and server.state is State.STOPPED and call.listener:
        server.adopt(worker, _release(supervisor, call.standing.release))
        logger.info("Server %s is adopted: pid %d", name, process.pid)
    elif server and worker.state in (WorkerState.SERVING, WorkerState.RESTING, WorkerState.LEAVING):
        server.adopt_leaving(worker)
    else:  # it never served
        logger.warning("Server %s, pid %d, is not asked for and is ended", name, process.pid)
        worker.order(OrderName.LEAVE, timeout=supervisor.settings.drain_timeout)
        if not await process.wait(END_SECONDS):
            await process.end(signal.SIGKILL, END_SECONDS)


def _server(supervisor: Supervisor, name: str) -> Server | None:
    try:
        return supervisor.server(int(name)) if name.isdecimal() else None
    except (ZenwebserverError, ValueError) as error:
        logger.error("Server %s cannot be known: %s", name, error)
        return None


def _release(supervisor: Supervisor, name: str) -> Release:
    release = supervisor.release(name if name.isdecimal() else "0")
    release.adopt_without_zygote(warm=supervisor.settings.preload != "off")
    return release
