"""start: storage, then servers, then the load balancer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from zenwebserver.errors import ZenwebserverError
from zenwebserver.pool import Targets
from zenwebserver.supervisor.operations.steps import (
    forget_undeployed,
    names,
    prepare_pool,
    remove_surplus,
    say_what_stands,
    serving,
    start_loadbalancer,
    start_servers,
    start_storage,
    stop_unused_storage,
)
from zenwebserver.supervisor.parts.kept_alive import KeptAlive
from zenwebserver.supervisor.parts.server import Server
from zenwebserver.supervisor.report import Report
from zenwebserver.supervisor.supervisor import Supervisor


async def start(supervisor: Supervisor, report: Report, *, targets: Sequence[str] = ()) -> str:
    """Start what is named and does not run; returns when all of it answers."""
    wanted = prepare_pool(supervisor, targets)
    forget_undeployed(supervisor)
    ran = all_run(supervisor, wanted)
    if wanted.loadbalancer and not supervisor.balancer.wanted:
        await supervisor.balancer.claim_ports()
    storage_ran = supervisor.storage.wanted
    if wanted.servers or wanted.storage:
        named = wanted.storage and not wanted.everything
        ran = not await start_storage(supervisor, report, named=named) and ran
    servers = [supervisor.server(number) for number in wanted.servers]
    rested = [server for server in servers if server.rests]
    try:
        failures = await start_servers(supervisor, report, servers, quiet=ran and wanted.everything)
        if failures and not any(server.wanted for server in supervisor.servers.values()):
            raise failures[0]
    except Exception as error:
        started = supervisor.storage.wanted and not storage_ran
        await stop_unused_storage(supervisor, ran=storage_ran)
        if isinstance(error, ZenwebserverError) and not serving(supervisor):
            say_what_stands(error, f"No server runs{'; storage was stopped again' * started}.")
        raise
    try:
        if wanted.loadbalancer:
            await start_loadbalancer(supervisor, report, quiet=ran and wanted.everything)
        else:
            await supervisor.publish()
        if wanted.everything:
            await remove_surplus(supervisor, report)
    except ZenwebserverError as error:
        say_what_stands(error, await left(supervisor, rested))
        raise
    if failures:
        raise failures[0]
    done = "It runs already" if ran else "Started"
    return f"{done}: {supervisor.settings.url()}/" if supervisor.balancer.serves else done


async def left(supervisor: Supervisor, rested: Sequence[Server]) -> str:
    """How things stand where nginx failed. Servers that `rested` and that it could not be told of do so again."""
    started = [server for server in rested if server.serves]
    numbers = [server.number for server in started]
    if not supervisor.balancer.serves:
        return f"The load balancer does not run; what serves: {names(sorted(serving(supervisor))) or 'no server'}."
    if not started:
        return "What ran before goes on as it was."
    if supervisor.nginx_knows_the_pool():
        return f"Started: {names(numbers)}."
    await asyncio.gather(*(server.stop() for server in started))
    return f"Stopped again: {names(numbers)}. The pool is as it was."


def all_run(supervisor: Supervisor, wanted: Targets) -> bool:
    """Whether there is nothing to start."""
    parts: list[KeptAlive] = [supervisor.server(number) for number in wanted.servers]
    if wanted.loadbalancer:
        parts.append(supervisor.balancer)
    if wanted.storage and not wanted.everything:
        parts.append(supervisor.storage)
    return all(part.serves for part in parts)
