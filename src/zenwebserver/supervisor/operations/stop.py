"""stop: the load balancer, then servers (drained), then storage."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from zenwebserver.pool import parse_targets
from zenwebserver.supervisor.parts.kept_alive import KeptAlive, State
from zenwebserver.supervisor.parts.server import Server
from zenwebserver.supervisor.report import Report
from zenwebserver.supervisor.supervisor import Supervisor


async def stop(supervisor: Supervisor, report: Report, *, targets: Sequence[str] = ()) -> str:
    """Stop what is named and runs. Works with settings that cannot be read: those in force are used."""
    wanted = parse_targets(targets, supervisor.pool)
    if wanted.loadbalancer:
        await stop_part(supervisor.balancer, report, named=not wanted.everything)
    servers = {number: supervisor.server(number) for number in wanted.servers}
    if wanted.everything:
        servers = dict(supervisor.servers)
    running = [server for server in servers.values() if server.state is not State.STOPPED or server.leaving]
    for server in servers.values():
        if server not in running and not wanted.everything:
            report.note(f"{server.title} is stopped already")
    await stop_servers(supervisor, report, running)
    await supervisor.retire_releases()
    if wanted.storage:
        await stop_part(supervisor.storage, report, named=not wanted.everything)
    return "Stopped"


async def stop_servers(supervisor: Supervisor, report: Report, servers: Sequence[Server]) -> None:
    """No nginx worker knows them any more when they are told to leave."""
    if not servers:
        return
    if supervisor.balancer.state is State.RUNNING:
        numbers = frozenset(server.number for server in servers)
        with report.step("Taking them out of the pool"):
            if not await supervisor.publish(without=numbers, wait=True):
                report.note("Requests in nginx outlasted drainTimeout")

    async def stop_one(server: Server) -> None:
        with report.step(f"Stopping {server.title}"):
            await server.stop()

    await asyncio.gather(*(stop_one(server) for server in servers))


async def stop_part(part: KeptAlive, report: Report, *, named: bool) -> None:
    """Storage or the load balancer."""
    if part.state in (State.STOPPED, State.FAILED):
        if named:
            report.note(f"{part.title} is stopped already")
        return
    with report.step(f"Stopping {part.title}"):
        await part.stop()
