"""start: storage, then servers, then the load balancer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from zenwebserver.errors import ZenwebserverError
from zenwebserver.pool import DEFAULT_SIZE, Targets, parse_targets
from zenwebserver.supervisor import published
from zenwebserver.supervisor.line.worker import StartError
from zenwebserver.supervisor.operations.prepare import note_outdated, prepare
from zenwebserver.supervisor.operations.surplus import remove_surplus
from zenwebserver.supervisor.parts.kept_alive import KeptAlive, State
from zenwebserver.supervisor.parts.release import Release
from zenwebserver.supervisor.parts.server import Server
from zenwebserver.supervisor.report import Report
from zenwebserver.supervisor.supervisor import Supervisor


async def start(supervisor: Supervisor, report: Report, *, targets: Sequence[str] = ()) -> str:
    """Start what is named and does not run; returns when all of it answers."""
    prepare(supervisor, report)
    if not supervisor.pool.servers:
        supervisor.record(supervisor.pool.grown(DEFAULT_SIZE))
        supervisor.read_pool()
    wanted = parse_targets(targets, supervisor.pool)
    forget_undeployed(supervisor)
    ran = all_run(supervisor, wanted)
    if wanted.loadbalancer and not supervisor.balancer.wanted:
        await supervisor.balancer.claim_ports()
    storage_ran = supervisor.storage.state is State.RUNNING
    if wanted.servers or wanted.storage:
        await start_storage(supervisor, report, named=wanted.storage and not wanted.everything)
    servers = [supervisor.server(number) for number in wanted.servers]
    try:
        failures = await start_servers(supervisor, report, servers, quiet=ran and wanted.everything)
        if failures and not any(server.wanted for server in supervisor.servers.values()):
            raise failures[0]
    except ZenwebserverError:
        if not storage_ran:
            await supervisor.storage.stop()
        raise
    if wanted.loadbalancer:
        await start_loadbalancer(supervisor, report, quiet=ran and wanted.everything)
    else:
        await supervisor.publish()
    if wanted.everything:
        await remove_surplus(supervisor, report)
    if failures:
        raise failures[0]
    done = "It runs already" if ran else "Started"
    return f"{done}: {supervisor.settings.url()}/" if supervisor.balancer.state is State.RUNNING else done


def all_run(supervisor: Supervisor, wanted: Targets) -> bool:
    """Whether there is nothing to start."""
    parts: list[KeptAlive] = [supervisor.server(number) for number in wanted.servers]
    if wanted.loadbalancer:
        parts.append(supervisor.balancer)
    if wanted.storage and not wanted.everything:
        parts.append(supervisor.storage)
    return all(part.state is State.RUNNING for part in parts)


def forget_undeployed(supervisor: Supervisor) -> None:
    """Configurations left by a deploy that was interrupted."""
    for path in supervisor.home.pool_folder.glob("zope*.conf"):
        name = path.stem.removeprefix("zope")
        if name.isdecimal() and int(name) not in supervisor.pool.servers and int(name) not in supervisor.servers:
            supervisor.forget_files(name)


async def start_storage(supervisor: Supervisor, report: Report, *, named: bool = False) -> None:
    if supervisor.storage.state is State.RUNNING:
        if named:
            report.note("Storage runs already")
        return
    if supervisor.write_storage_conf():
        with report.step("Starting Storage"):
            await supervisor.storage.start()
    elif named:
        report.note("Storage is not needed: the site's own configuration uses a shared one")


async def start_servers(
    supervisor: Supervisor, report: Report, servers: Sequence[Server], *, quiet: bool = False
) -> list[ZenwebserverError]:
    """Start those that do not run, as many at a time as there are processors. Returns what failed."""
    stopped = [server for server in servers if server.state is not State.RUNNING]
    for server in servers:
        if server not in stopped and not quiet:
            report.note(f"{server.title} runs already")
    if not stopped:
        return []
    release = await load_release(supervisor, report)
    failures: list[ZenwebserverError] = []
    at_once = asyncio.Semaphore(os.cpu_count() or 1)

    async def start_one(server: Server) -> None:
        async with at_once:
            try:
                with report.step(f"Starting {server.title}"):
                    await supervisor.start_server(server, release)
            except ZenwebserverError as error:
                failures.append(did_not_come_up(supervisor, server, error))

    if supervisor.is_new():
        await start_one(stopped.pop(0))
    if not failures:
        await asyncio.gather(*(start_one(server) for server in stopped))
    return failures


async def load_release(supervisor: Supervisor, report: Report, *, anew: bool = False) -> Release:
    """The release that servers join; loaded where there is none, or `anew`."""
    await supervisor.retire_releases()
    if supervisor.releases and not anew:
        return supervisor.releases[-1]
    try:
        with report.step("Loading the site"):
            release = await supervisor.new_release()
    except StartError as error:
        serves = "; what ran before goes on serving" if supervisor.releases else ""
        raise StartError(f"{error.message}{serves}", hint=error.hint, detail=error.detail) from error
    if release.why_ordinary:
        report.note(f"Servers start the ordinary way: {release.why_ordinary}")
    return release


async def start_loadbalancer(supervisor: Supervisor, report: Report, *, quiet: bool = False) -> None:
    balancer = supervisor.balancer
    if balancer.state is State.RUNNING:
        if not quiet:
            report.note("Load balancer runs already")
        await supervisor.publish()
        return
    if not supervisor.home.nginx_conf.exists():
        await supervisor.configure()
    await note_outdated(supervisor.home, supervisor.settings, report)
    await supervisor.publish()
    with report.step("Starting Load balancer"):
        try:
            await balancer.start()
        except ZenwebserverError:
            published.check_certificate(supervisor.settings)  # says it plainer than nginx does
            raise


def did_not_come_up(supervisor: Supervisor, server: Server, error: ZenwebserverError) -> ZenwebserverError:
    return ZenwebserverError(
        f"{server.title} did not come up: {error.message}",
        hint=error.hint or f"Its log: {supervisor.home.server_log(server.name)}",
        detail=error.detail,
    )
