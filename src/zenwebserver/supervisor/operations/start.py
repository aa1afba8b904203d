"""start: storage, then servers, then the load balancer."""

from __future__ import annotations

from collections.abc import Sequence

from zenwebserver.pool import Targets
from zenwebserver.supervisor.operations.steps import (
    forget_undeployed,
    prepare_pool,
    remove_surplus,
    start_loadbalancer,
    start_servers,
    start_storage,
    stop_unused_storage,
)
from zenwebserver.supervisor.parts.kept_alive import KeptAlive
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
    try:
        failures = await start_servers(supervisor, report, servers, quiet=ran and wanted.everything)
        if failures and not any(server.wanted for server in supervisor.servers.values()):
            raise failures[0]
    except Exception:
        await stop_unused_storage(supervisor, ran=storage_ran)
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
    return f"{done}: {supervisor.settings.url()}/" if supervisor.balancer.serves else done


def all_run(supervisor: Supervisor, wanted: Targets) -> bool:
    """Whether there is nothing to start."""
    parts: list[KeptAlive] = [supervisor.server(number) for number in wanted.servers]
    if wanted.loadbalancer:
        parts.append(supervisor.balancer)
    if wanted.storage and not wanted.everything:
        parts.append(supervisor.storage)
    return all(part.serves for part in parts)
