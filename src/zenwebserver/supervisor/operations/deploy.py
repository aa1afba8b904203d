"""deploy: change how many servers exist."""

from __future__ import annotations

from zenwebserver.errors import NeedsConsent, ZenwebserverError
from zenwebserver.pool import Pool, wanted_size
from zenwebserver.supervisor.operations.steps import (
    did_not_come_up,
    forget_undeployed,
    load_release,
    prepare,
    remove_surplus,
    start_storage,
    stop_unused_storage,
)
from zenwebserver.supervisor.parts.release import Release
from zenwebserver.supervisor.parts.server import Server
from zenwebserver.supervisor.report import Report
from zenwebserver.supervisor.supervisor import Supervisor


async def deploy(supervisor: Supervisor, report: Report, *, size: str, above_maximum: bool = False) -> str:
    """Exactly as many servers exist and run as `size` (n, +n, -n) says."""
    prepare(supervisor)
    former = supervisor.pool
    wanted = former.grown(wanted_size(size, len(former.servers))).shrunk(wanted_size(size, len(former.servers)))
    refuse_too_many(supervisor, former, wanted, above_maximum)
    forget_undeployed(supervisor)
    supervisor.record(wanted)
    storage_ran = supervisor.storage.wanted
    try:
        await start_storage(supervisor, report)
        await start_missing(supervisor, report, former, wanted)
    except Exception:
        undeploy_unborn(supervisor, former)
        await stop_unused_storage(supervisor, ran=storage_ran)
        raise
    await remove_surplus(supervisor, report)
    if not supervisor.balancer.serves:
        report.note("The load balancer is not running: zenwebserver start")
    elif former.attached and not wanted.attached:
        report.note("No server is attached any more: visitors get the 50x page until: zenwebserver attach servers")
    return f"{len(wanted.servers)} server{'s'[: len(wanted.servers) != 1]} deployed"


async def start_missing(supervisor: Supervisor, report: Report, former: Pool, wanted: Pool) -> None:
    """One after the other; the first that fails is the last."""
    missing = [each for each in map(supervisor.server, wanted.numbers) if not each.serves]
    if not missing:
        return
    release = await load_release(supervisor, report)
    for server in missing:
        verb = "Starting" if server.number in former.servers else "Deploying"
        with report.step(f"{verb} {server.title}"):
            await bring_up(supervisor, server, release)


async def bring_up(supervisor: Supervisor, server: Server, release: Release) -> None:
    """It serves, and nginx knows it. Raises ZenwebserverError; then it is as before."""
    came_back = server.comes_back
    try:
        await supervisor.start_server(server, release)
    except (ZenwebserverError, OSError) as error:
        raise did_not_come_up(supervisor, server, error) from error
    try:
        await supervisor.publish()
    except ZenwebserverError as error:
        if not came_back:
            await server.stop()
        raise ZenwebserverError(
            f"{server.title} could not be put into the pool: {error.message}", hint=error.hint, detail=error.detail
        ) from error


def refuse_too_many(supervisor: Supervisor, former: Pool, wanted: Pool, above_maximum: bool) -> None:
    maximum = supervisor.settings.max_servers
    for number in wanted.numbers:
        supervisor.settings.server_address(number)  # raises where its port would be another's
    if len(wanted.servers) > max(maximum, len(former.servers)) and not above_maximum:
        raise NeedsConsent(
            f"{len(wanted.servers)} servers are more than maxServers ({maximum})",
            hint=f"Nothing was done. Raise maxServers in {supervisor.home.settings_file}, or add --yes.",
        )


def undeploy_unborn(supervisor: Supervisor, former: Pool) -> None:
    """New servers that did not come up, or were not tried, do not exist; those that serve or come back stay."""
    alive = {number for number, server in supervisor.servers.items() if server.wanted}
    kept = {
        number: attached
        for number, attached in supervisor.pool.servers.items()
        if number in alive | set(former.servers)
    }
    unborn = set(supervisor.pool.servers) - set(kept)
    supervisor.record(Pool(kept))
    for number in unborn & set(supervisor.servers):
        supervisor.forget_server(number)
