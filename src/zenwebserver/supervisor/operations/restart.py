"""restart: the load balancer first, then each server in turn; nobody who visits the site notices."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

from zenwebserver.errors import ZenwebserverError
from zenwebserver.pool import DEFAULT_SIZE, parse_targets
from zenwebserver.supervisor import published
from zenwebserver.supervisor.operations.steps import (
    load_release,
    note_outdated,
    prepare,
    remove_surplus,
    start_loadbalancer,
    start_servers,
    start_storage,
)
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
    runs = supervisor.balancer.serves
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
        if not supervisor.storage.rests:
            await supervisor.storage.stop()
        await supervisor.storage.start()


async def restart_servers(supervisor: Supervisor, report: Report, servers: Sequence[Server]) -> None:
    """A new release beside the old one: one server first, then several at a time; all of them, or none."""
    if not any(server.serves for server in supervisor.servers.values()):
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
    except BaseException as error:
        went_back = await exchanges.undo()
        if isinstance(error, DidNotComeBack):
            raise error.told(went_back) from error
        raise
    exchanges.settle()
    await supervisor.publish()
    await supervisor.retire_releases()


def at_once(supervisor: Supervisor) -> int:
    return supervisor.settings.restart_parallel or max(1, len(supervisor.pool.servers) // 4)


def batched(servers: Sequence[Server], size: int) -> Iterator[Sequence[Server]]:
    for first in range(0, len(servers), size):
        yield servers[first : first + size]


class DidNotComeBack(ZenwebserverError):
    """A server could not be exchanged; it was, or was not, left serving."""

    def __init__(self, server: Server, why: str, *, hint: str, detail: str = "") -> None:
        super().__init__(f"{server.title} {why}", hint=hint, detail=detail)
        self.server = server

    def told(self, went_back: bool) -> ZenwebserverError:
        """With how things stand now."""
        still = "the former one goes on serving" if self.server.serves else "it is down"
        others = "no server was restarted" if went_back else "not every server could go back"
        return ZenwebserverError(f"{self.message} ({still}; {others})", hint=self.hint, detail=self.detail)


class Exchanges:
    """The servers of one restart that have been exchanged, and how each goes back."""

    def __init__(self, supervisor: Supervisor, report: Report, release: Release) -> None:
        self._supervisor = supervisor
        self._report = report
        self._release = release
        self._made: list[tuple[Server, Callable[[], Awaitable[None]]]] = []

    async def make(self, server: Server) -> None:
        """Its successor boots while it serves; where it did not run, it is started. Raises DidNotComeBack."""
        try:
            with self._report.step(f"Restarting {server.title}"):
                if server.serves:
                    self._made.append((server, await self._supervisor.exchange_server(server, self._release)))
                else:
                    await self._supervisor.start_server(server, self._release)
                    await self._supervisor.publish()
        except ZenwebserverError as error:
            raise DidNotComeBack(
                server,
                f"did not come back: {error.message}",
                hint=error.hint or self._its_log(server),
                detail=error.detail,
            ) from error

    def check(self) -> None:
        """Every successor still serves. Raises DidNotComeBack."""
        for server, _ in self._made:
            if server.release is not self._release or not server.serves:
                raise DidNotComeBack(server, "died right after its restart", hint=self._its_log(server))

    async def undo(self) -> bool:
        """Each goes back, whatever the others do; who cannot is told. Returns whether all have gone back."""
        if not self._made:
            return True
        try:
            with self._report.step("Going back to the former release"):
                results = await asyncio.gather(*(undo() for _, undo in self._made), return_exceptions=True)
                failures = [result for result in results if isinstance(result, BaseException)]
                if failures:
                    raise ZenwebserverError("\n".join(map(str, failures)))
        except ZenwebserverError as error:
            self._report.note(error.message)
            return False
        return True

    def settle(self) -> None:
        for server, _ in self._made:
            server.settle()

    def _its_log(self, server: Server) -> str:
        return f"Its log: {self._supervisor.home.server_log(server.name)}"
