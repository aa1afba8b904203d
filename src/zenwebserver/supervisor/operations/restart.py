"""restart: the load balancer first, then each server in turn; nobody who visits the site notices."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

from zenwebserver.errors import ZenwebserverError
from zenwebserver.pool import DEFAULT_SIZE, parse_targets
from zenwebserver.supervisor import published
from zenwebserver.supervisor.operations.prepare import note_outdated, prepare
from zenwebserver.supervisor.operations.start import (
    load_release,
    start_loadbalancer,
    start_servers,
    start_storage,
)
from zenwebserver.supervisor.operations.surplus import remove_surplus
from zenwebserver.supervisor.parts.kept_alive import State
from zenwebserver.supervisor.parts.release import Release
from zenwebserver.supervisor.parts.server import Server
from zenwebserver.supervisor.report import Report
from zenwebserver.supervisor.supervisor import Supervisor


async def restart(supervisor: Supervisor, report: Report, *, targets: Sequence[str] = ()) -> str:
    """Exchange what runs for the code and configuration as they are now, start what does not run.

    Where the new release does not come up, everything old goes on serving.
    """
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
    if wanted.servers:
        await restart_servers(supervisor, report, [supervisor.server(number) for number in wanted.servers])
    if wanted.loadbalancer and not runs:
        await start_loadbalancer(supervisor, report)
    if wanted.everything:
        await remove_surplus(supervisor, report)
    return "Restarted"


async def exchange_loadbalancer(supervisor: Supervisor, report: Report) -> None:
    if not supervisor.home.nginx_conf.exists():
        await supervisor.configure()
    await note_outdated(supervisor.home, supervisor.settings, report)
    with report.step("Restarting Load balancer"):
        await published.verify_in_place(supervisor.home, supervisor.settings)
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


async def restart_servers(supervisor: Supervisor, report: Report, servers: Sequence[Server]) -> None:
    """A new release beside the old one: one server first, then several at a time; all of them, or none."""
    if not any(server.state is State.RUNNING for server in supervisor.servers.values()):
        if failures := await start_servers(supervisor, report, servers):
            raise failures[0]
        return
    for server in servers:
        if server.address != supervisor.settings.server_address(server.number):
            report.note(f"{server.title} keeps port {server.address[1]} until it is stopped and started")
    release = await load_release(supervisor, report, anew=True)
    exchanges = Exchanges(supervisor, report, release)
    try:
        await exchanges.make(servers[0])
        for several in batched(servers[1:], at_once(supervisor)):
            results = await asyncio.gather(*map(exchanges.make, several), return_exceptions=True)
            for error in results:
                if isinstance(error, BaseException):
                    raise error
        exchanges.check()
    except BaseException:
        await exchanges.undo()
        await supervisor.retire_releases()
        raise
    exchanges.settle()
    await supervisor.publish()
    await supervisor.retire_releases()


def at_once(supervisor: Supervisor) -> int:
    return supervisor.settings.restart_parallel or max(1, len(supervisor.pool.servers) // 4)


def batched(servers: Sequence[Server], size: int) -> Iterator[Sequence[Server]]:
    for first in range(0, len(servers), size):
        yield servers[first : first + size]


class Exchanges:
    """The servers of one restart that have been exchanged, and how each goes back."""

    def __init__(self, supervisor: Supervisor, report: Report, release: Release) -> None:
        self._supervisor = supervisor
        self._report = report
        self._release = release
        self._made: list[tuple[Server, Callable[[], Awaitable[None]]]] = []

    async def make(self, server: Server) -> None:
        """Its successor boots while it serves; where it did not run, it is started."""
        try:
            with self._report.step(f"Restarting {server.title}"):
                if server.state is State.RUNNING:
                    self._made.append((server, await self._supervisor.exchange_server(server, self._release)))
                else:
                    await self._supervisor.start_server(server, self._release)
                    await self._supervisor.publish()
        except ZenwebserverError as error:
            still = "the former one goes on serving" if server.state is State.RUNNING else "it is down"
            raise ZenwebserverError(
                f"{server.title} did not come back: {error.message} ({still}; no server was restarted)",
                hint=error.hint or f"Its log: {self._supervisor.home.server_log(server.name)}",
                detail=error.detail,
            ) from error

    def check(self) -> None:
        """Every successor still serves. Raises ZenwebserverError."""
        for server, _ in self._made:
            if server.release is not self._release or server.state is not State.RUNNING:
                raise ZenwebserverError(
                    f"{server.title} died right after its restart; the former ones go on serving",
                    hint=f"Its log: {self._supervisor.home.server_log(server.name)}",
                )

    async def undo(self) -> None:
        if self._made:
            with self._report.step("Going back to the former release"):
                await asyncio.gather(*(undo() for _, undo in self._made))

    def settle(self) -> None:
        for server, _ in self._made:
            server.settle()
