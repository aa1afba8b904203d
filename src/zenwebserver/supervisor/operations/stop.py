"""stop: the load balancer, then servers (drained), then storage."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from zenwebserver.pool import parse_targets
from zenwebserver.supervisor.operations.steps import take_out
from zenwebserver.supervisor.parts.kept_alive import KeptAlive
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
    nothing = wanted.everything and supervisor.balancer.rests and supervisor.storage.rests
    running = [server for server in servers.values() if not server.rests or server.leaving]
    for server in servers.values():
        if server not in running and not wanted.everything:
            report.note(f"{server.title} is stopped already")
    await stop_servers(supervisor, report, running)
    if not wanted.storage:
        supervisor.changes.finish()
    await asyncio.gather(*(has_left(server, report) for server in running))
    if wanted.storage:
        await stop_part(supervisor.storage, report, named=not wanted.everything)
        await supervisor.storage.end_strangers()
    return "It is stopped already" if nothing and not running else "Stopped"


async def stop_servers(supervisor: Supervisor, report: Report, servers: Sequence[Server]) -> None:
    """No nginx worker knows them any more when they are told to leave."""
    await take_out(supervisor, report, [server for server in servers if not server.rests])
    await asyncio.gather(*(server.leave() for server in servers))
    await supervisor.retire_releases()


async def has_left(server: Server, report: Report) -> None:
    """It has answered what it had accepted."""
    if server.serves:
        report.note(f"{server.title} was started again meanwhile")
        return
    with report.step(f"Stopping {server.title}"):
        await server.leaving.end()


async def stop_part(part: KeptAlive, report: Report, *, named: bool) -> None:
    """Storage or the load balancer."""
    if part.rests:
        if named:
            report.note(f"{part.title} is stopped already")
        return
    with report.step(f"Stopping {part.title}"):
        await part.stop()
