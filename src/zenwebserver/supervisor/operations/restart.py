"""restart: the load balancer first, then each server in turn; nobody who visits the site notices."""

from __future__ import annotations

from collections.abc import Sequence

from zenwebserver.errors import ZenwebserverError
from zenwebserver.pool import DEFAULT_SIZE, parse_targets
from zenwebserver.supervisor import configuration
from zenwebserver.supervisor.kept_alive import State
from zenwebserver.supervisor.operations.start import prepare, start_loadbalancer, start_storage
from zenwebserver.supervisor.report import Report
from zenwebserver.supervisor.server import Server
from zenwebserver.supervisor.supervisor import Supervisor


async def restart(supervisor: Supervisor, report: Report, *, targets: Sequence[str] = ()) -> str:
    """Exchange what runs, start what does not. A server that does not come back ends it, the others untouched."""
    prepare(supervisor, report)
    if not supervisor.pool.servers:
        supervisor.record(supervisor.pool.grown(DEFAULT_SIZE))
        supervisor.read_pool()
    wanted = parse_targets(targets, supervisor.pool)
    runs = supervisor.balancer.state is State.RUNNING
    if wanted.loadbalancer and runs:
        await exchange_loadbalancer(supervisor, report)
    if wanted.storage and not wanted.everything:
        await restart_storage(supervisor, report)
    elif wanted.servers:
        await start_storage(supervisor, report)
    for position, number in enumerate(wanted.servers):
        untouched = wanted.servers[position + 1 :]
        await restart_server(supervisor, report, supervisor.server(number), untouched)
    if wanted.loadbalancer and not runs:
        await start_loadbalancer(supervisor, report)
    return "Restarted"


async def exchange_loadbalancer(supervisor: Supervisor, report: Report) -> None:
    with report.step("Restarting Load balancer"):
        if not supervisor.home.nginx_conf.exists():
            await supervisor.configure()
        await configuration.verify_in_place(supervisor.home, supervisor.settings)
        await supervisor.balancer.upgrade()


async def restart_storage(supervisor: Supervisor, report: Report) -> None:
    """The servers wait for it; requests that need the database take as much longer."""
    needed = supervisor.write_storage_conf()
    if not needed:
        report.note("Storage is not needed: the site's own configuration uses a shared one")
        return
    with report.step("Restarting Storage"):
        if supervisor.storage.state is not State.STOPPED:
            await supervisor.storage.stop()
        await supervisor.storage.start()


async def restart_server(supervisor: Supervisor, report: Report, server: Server, untouched: Sequence[int]) -> None:
    """Its successor boots while it serves; where it did not run, it is started and put into the pool."""
    ran = server.state is State.RUNNING
    try:
        with report.step(f"Restarting {server.title}"):
            await (supervisor.exchange_server(server) if ran else supervisor.start_server(server))
            await supervisor.publish()
    except ZenwebserverError as error:
        still = "the former one goes on serving" if server.state is State.RUNNING else "it is down"
        others = f"; not restarted: {', '.join(f'server{number}' for number in untouched)}" if untouched else ""
        raise ZenwebserverError(
            f"{server.title} did not come back: {error.message} ({still}{others})",
            hint=error.hint or f"Its log: {supervisor.home.server_log(server.name)}",
            detail=error.detail,
        ) from error
