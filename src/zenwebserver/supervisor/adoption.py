"""A new supervisor finds what an earlier one left running, and takes it over as if nothing had been."""

from __future__ import annotations

import asyncio
import logging
import re
import signal
from pathlib import Path

from zenwebserver.errors import ZenwebserverError
from zenwebserver.machine.identity import Identity
from zenwebserver.machine.processes import Process
from zenwebserver.pool import NUMBER, Pool
from zenwebserver.supervisor.line.switchboard import Call
from zenwebserver.supervisor.parts.release import Release
from zenwebserver.supervisor.parts.server import Server
from zenwebserver.supervisor.parts.state import State
from zenwebserver.supervisor.supervisor import Supervisor
from zenwebserver.worker.messages import OrderName, WorkerState

logger = logging.getLogger(__name__)

# Seconds. A process calls every 0.2 s (worker/line.py); one that is silent for longer is stuck.
CALL_SECONDS = 5.0
UNNAMED_SECONDS = 0.4  # for the call of one whose pid file is lost
END_SECONDS = 10.0
LOOK_AGAIN_SECONDS = 0.05
NAME_OF_RELEASE = re.compile(r"[0-9]{1,9}")


async def adopt(supervisor: Supervisor) -> None:
    """nginx by its name; storage, servers and zygotes by their calls. Who should call and does not is ended.

    A storage of an earlier version, which does not call, is known by its pid file or its command.
    """
    readable = _read_record(supervisor)
    named = dict.fromkeys(supervisor.storage.adopt_silent(), "storage")
    await supervisor.balancer.adopt()
    named |= _named(supervisor)
    if named or supervisor.storage.serves or supervisor.balancer.serves:
        await _all_called(supervisor, set(named))
    called = await _adopt_callers(supervisor)
    # The last one bears the next servers: not one whose restart was cut off, or was going back.
    supervisor.releases.sort(key=lambda release: (not release.on_trial, int(release.name)))
    await supervisor.retire_releases()
    await asyncio.gather(*(_end_silent(each, name) for each, name in named.items() if each.pid not in called))
    supervisor.membership.adopt()
    if not readable:
        supervisor.pool = _what_serves(supervisor)
    _forget_the_dead(supervisor)
    supervisor.publisher.go_on_answering(supervisor.pool_servers())
    supervisor.reception.adopted()
    _miss_storage(supervisor)


async def put_right(supervisor: Supervisor) -> None:
    """What died together with the supervisor comes back; a change that was cut off with it is told to nginx."""
    await _bring_back_nginx(supervisor)
    await _tell_nginx(supervisor)


async def _bring_back_nginx(supervisor: Supervisor) -> None:
    """Its workers serve on without a master, until somebody tells them to leave."""
    balancer = supervisor.balancer
    if not balancer.was_killed:
        return
    async with supervisor.changes.make("bringing nginx back"):
        try:
            await _publish_what_is_asked_for(supervisor)
            await balancer.start()
        except (ZenwebserverError, OSError) as error:
            logger.error("nginx, which was killed, did not come back: %s", error)
            balancer.leaving.add_orphans()
        else:
            logger.warning("nginx had been killed, and is back: pid %s", balancer.pid)
        balancer.was_killed = False


async def _tell_nginx(supervisor: Supervisor) -> None:
    """A change that was cut off with its supervisor may have left nginx another pool than the record asks for."""
    if not supervisor.balancer.serves or supervisor.nginx_knows_the_pool():
        return
    async with supervisor.changes.make("telling nginx of the pool"):
        try:
            await _publish_what_is_asked_for(supervisor)
        except ZenwebserverError as error:
            logger.error("nginx was not told of the pool as it is: %s\n%s", error.message, error.detail)
        else:
            logger.warning("nginx had, or may have had, another pool than is asked for, and was told")


async def _publish_what_is_asked_for(supervisor: Supervisor) -> None:
    """By the settings and the record as they are on disk. Raises ZenwebserverError."""
    supervisor.read_settings()
    supervisor.read_pool()
    await supervisor.publish()


def _read_record(supervisor: Supervisor) -> bool:
    """Whether it is known which servers are asked for; where it is not, those that run are."""
    try:
        supervisor.read_pool()
    except ZenwebserverError as error:
        logger.error("%s", error.message)
        return False
    return supervisor.home.pool_record.exists()


def _what_serves(supervisor: Supervisor) -> Pool:
    """Attached as nginx knows them."""
    serving = [(number, server) for number, server in sorted(supervisor.servers.items()) if server.serves]
    return Pool({number: supervisor.nginx_sends_to(server) is not False for number, server in serving})


def _named(supervisor: Supervisor) -> dict[Identity, str]:
    """Servers and zygotes that live, by their pid files."""
    return {
        identity: path.stem
        for pattern in ("zope*.pid", "zygote*.pid")
        for path in sorted(supervisor.home.run.glob(pattern))
        if (identity := _living(supervisor, path))
    }


def _living(supervisor: Supervisor, pid_file: Path) -> Identity | None:
    """The process that it names, if that lives and is of this home: pid files are copied with a home that runs."""
    identity = Identity.read(pid_file)
    return identity if identity and identity.works_in(supervisor.home.path) else None


def _forget_the_dead(supervisor: Supervisor) -> None:
    for pattern in ("zope*.pid", "zygote*.pid", "storage.pid"):
        for path in supervisor.home.run.glob(pattern):
            if _living(supervisor, path) is None:
                path.unlink(missing_ok=True)
    known = {release.name for release in supervisor.releases}
    for path in supervisor.home.pool_folder.glob("release*.conf"):
        name = path.stem.removeprefix("release")
        if NAME_OF_RELEASE.fullmatch(name) and name not in known:
            path.unlink(missing_ok=True)
    for path in supervisor.home.run.glob("release*.trial"):
        if path.stem.removeprefix("release") not in known:
            path.unlink(missing_ok=True)


def _miss_storage(supervisor: Supervisor) -> None:
    """It comes back where servers were found without it."""
    storage = supervisor.storage
    if storage.serves or not any(server.wanted for server in supervisor.servers.values()):
        return
    try:
        needed = supervisor.write_storage_conf()
    except (ZenwebserverError, OSError) as error:
        logger.error("Storage's configuration cannot be made; what there is, is used: %s", error)
        needed = supervisor.home.storage_conf.exists()
    if needed:
        storage.is_missed()


async def _all_called(supervisor: Supervisor, known: set[Identity]) -> None:
    """Wait until the processes that are known have called, and give unknown ones the time of a call."""
    begun = asyncio.get_running_loop().time()
    waited = 0.0
    while waited < CALL_SECONDS:
        called = {call.pid for call in supervisor.reception.waiting()}
        missing = [each for each in known if each.pid not in called and Identity.of(each.pid) == each]
        if waited >= UNNAMED_SECONDS and not missing:
            return
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
        waited = asyncio.get_running_loop().time() - begun


async def _end_silent(identity: Identity, name: str) -> None:
    if process := Process.adopt(identity):  # by now its pid may be another's
        logger.warning("%s, pid %d, does not answer and is ended", name, identity.pid)
        await process.end(signal.SIGKILL, END_SECONDS)


async def _adopt_callers(supervisor: Supervisor) -> set[int]:
    """Whoever has called, or does so meanwhile. Returns their pids."""
    called: set[int] = set()
    while calls := [call for call in supervisor.reception.waiting() if call.pid not in called]:
        calls.sort(key=lambda call: not call.standing.zygote)  # zygotes first: servers are of their releases
        called |= {call.pid for call in calls}
        await asyncio.gather(*(_adopt_caller(supervisor, call) for call in calls))
    return called


async def _adopt_caller(supervisor: Supervisor, call: Call) -> None:
    if (identity := Identity.of(call.pid)) and (process := Process.adopt(identity)):
        if call.standing.storage:
            await supervisor.storage.adopt(supervisor.reception.adopt(call, process, supervisor.home.storage_log))
        elif call.standing.zygote:
            await _adopt_zygote(supervisor, call, process)
        else:
            await _adopt_server(supervisor, call, process)


async def _adopt_zygote(supervisor: Supervisor, call: Call, process: Process) -> None:
    name = call.standing.zygote
    zygote = supervisor.reception.adopt(call, process, supervisor.home.zygote_log)
    if zygote.state is WorkerState.READY and NAME_OF_RELEASE.fullmatch(name):
        supervisor.release(name).adopt(zygote)
    else:
        logger.warning("The zygote of release %.20s, pid %d, is not ready and is ended", name, process.pid)
        await process.end(signal.SIGKILL, END_SECONDS)


async def _adopt_server(supervisor: Supervisor, call: Call, process: Process) -> None:
    name = call.standing.server if NUMBER.fullmatch(call.standing.server) else "-"
    worker = supervisor.reception.adopt(call, process, supervisor.home.server_log(name))
    served = worker.state in (WorkerState.SERVING, WorkerState.RESTING, WorkerState.LEAVING)
    server = _server(supervisor, name) if served else None
    if server and worker.state is WorkerState.SERVING and server.state is State.STOPPED and call.listener:
        server.adopt(worker, _release(supervisor, call.standing.release))
        logger.info("Server %s is adopted: pid %d", name, process.pid)
    elif server:
        server.adopt_leaving(worker)
    else:
        logger.warning("Server %s, pid %d, is not asked for and is ended", name, process.pid)
        worker.order(OrderName.LEAVE, timeout=supervisor.settings.drain_timeout)
        if not await process.wait(END_SECONDS):
            await process.end(signal.SIGKILL, END_SECONDS)


def _server(supervisor: Supervisor, name: str) -> Server | None:
    try:
        return supervisor.server(int(name)) if NUMBER.fullmatch(name) else None
    except ZenwebserverError as error:
        logger.error("Server %s cannot be known: %s", name, error)
        return None


def _release(supervisor: Supervisor, name: str) -> Release:
    release = supervisor.release(name if NAME_OF_RELEASE.fullmatch(name) else "0")
    release.adopt_without_zygote(warm=supervisor.settings.preload != "off")
    return release
