"""restart: the load balancer first, then each server in turn; nobody who visits the site notices."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from zenwebserver.errors import ZenwebserverError, told
from zenwebserver.supervisor import published
from zenwebserver.supervisor.line import site_python
from zenwebserver.supervisor.membership import NotPublished
from zenwebserver.supervisor.operations.steps import (
    any_serves,
    load_release,
    note_outdated,
    prepare_pool,
    remove_surplus,
    say_what_stands,
    start_loadbalancer,
    start_servers,
    start_storage,
    stop_unused_storage,
    take_out,
    together,
)
from zenwebserver.supervisor.parts.release import Release
from zenwebserver.supervisor.parts.server import Server
from zenwebserver.supervisor.parts.state import State
from zenwebserver.supervisor.report import Report
from zenwebserver.supervisor.supervisor import Supervisor


async def restart(supervisor: Supervisor, report: Report, *, targets: Sequence[str] = ()) -> str:
    """Exchange what runs for the code and configuration as they are now, start what does not run.

    Where the new release does not come up, everything old goes on serving.
    """
    wanted = prepare_pool(supervisor, targets)
    runs = supervisor.balancer.serves
    if wanted.loadbalancer and runs:
        await exchange_loadbalancer(supervisor, report)
    if wanted.storage and not wanted.everything:
        await restart_storage(supervisor, report)
    if wanted.servers:
        storage_ran = supervisor.storage.wanted
        try:
            await start_storage(supervisor, report)
            await restart_servers(supervisor, report, [supervisor.server(number) for number in wanted.servers])
        except Exception:
            await stop_unused_storage(supervisor, ran=storage_ran)
            raise
    try:
        if wanted.loadbalancer and not runs:
            await start_loadbalancer(supervisor, report)
        if wanted.everything:
            await remove_surplus(supervisor, report)
    except ZenwebserverError as error:
        if wanted.servers:
            say_what_stands(error, "The servers were restarted.")
        raise
    return "Restarted"


async def exchange_loadbalancer(supervisor: Supervisor, report: Report) -> None:
    if not supervisor.home.nginx_conf.exists():
        await supervisor.configure()
    await note_outdated(supervisor.home, supervisor.settings, report)
    with report.step("Restarting Load balancer"):
        await published.verify_in_place(supervisor.home, supervisor.settings)
        exchanged = await supervisor.balancer.upgrade()
    if not exchanged:
        report.note("nginx was reloaded, not exchanged: the one before it still answers requests")


async def restart_storage(supervisor: Supervisor, report: Report) -> None:
    """The servers wait for it; requests that need the database take as much longer."""
    needed = supervisor.write_storage_conf()
    if not needed:
        report.note("Storage is not needed: the site's own configuration uses a shared one")
        return
    await site_python.check(supervisor.home, supervisor.settings.python, storage=True)
    with report.step("Restarting Storage"):
        await supervisor.storage.restart()


async def restart_servers(supervisor: Supervisor, report: Report, servers: Sequence[Server]) -> None:
    """A new release beside the old one: one server first, then several at a time; all of them, or none."""
    for server in servers:
        if server.serves and server.address != supervisor.settings.server_address(server.number):
            report.note(f"{server.title} keeps port {server.address[1]} until it is stopped and started")
    release = await load_release(supervisor, report, anew=True)
    if not any_serves(supervisor):
        if failures := await start_servers(supervisor, report, servers, release=release):
            raise failures[0]
        servers = [server for server in servers if server.release is not release]  # they came back by themselves
    exchanges = Exchanges(supervisor, report, release)
    if any(server.release not in (None, release) for server in supervisor.servers.values()):
        release.begin_trial()
    try:
        for several in [servers[:1], *batched(servers[1:], at_once(supervisor))]:
            await together(map(exchanges.make, several))
        exchanges.check()
    except BaseException as error:
        went_back = await exchanges.undo()
        if isinstance(error, DidNotComeBack):
            raise error.told(release, went_back) from error
        raise
    exchanges.settle()
    release.end_trial()
    if not supervisor.nginx_knows_the_pool():
        try:
            await supervisor.publish()
        except NotPublished as error:
            say_what_stands(error, "The servers were restarted; nginx sends to those that it knew before.")
            raise
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

    def told(self, release: Release, went_back: bool) -> ZenwebserverError:
        """With how things stand now; `release` is the one that was to be."""
        if not self.server.serves:
            still = "it is down, and started again" if self.server.comes_back else "it is down"
        elif self.server.release is release:
            still = f"it goes on in release {release.name}"
        else:
            still = "the former one goes on serving"
        others = "no server was restarted" if went_back else "not all is as it was"
        return ZenwebserverError(f"{self.message} ({still}; {others})", hint=self.hint, detail=self.detail)


@dataclass(frozen=True)
class Exchange:
    """What was done to a server, and the release that it ran in before; None where it did not run."""

    server: Server
    former: Release | None
    undo: Callable[[], Awaitable[None]] | None = None


class Exchanges:
    """The servers of one restart that have been exchanged, and how each goes back."""

    def __init__(self, supervisor: Supervisor, report: Report, release: Release) -> None:
        self._supervisor = supervisor
        self._report = report
        self._release = release
        self._made: list[Exchange] = []

    async def make(self, server: Server) -> None:
        """Its successor boots while it serves; where it did not run, it is started. Raises DidNotComeBack."""
        try:
            with self._report.step(f"Restarting {server.title}"):
                if not server.serves:
                    await self._start(server)
                if server.release is not self._release:  # it ran, or goes on though it was to stop
                    former = server.release
                    undo = await self._supervisor.exchange_server(server, self._release)
                    self._made.append(Exchange(server, former, undo))
        except (ZenwebserverError, OSError) as error:
            raise DidNotComeBack(
                server,
                f"did not come back: {told(error)}",
                hint=("" if isinstance(error, NotPublished) else getattr(error, "hint", "")) or self._its_log(server),
                detail=getattr(error, "detail", ""),
            ) from error

    async def _start(self, server: Server) -> None:
        former = server.release if server.comes_back else None
        await self._supervisor.start_server(server, self._release)
        if server.release is self._release:
            self._made.append(Exchange(server, former))
        await self._supervisor.publish()

    def check(self) -> None:
        """Every successor still serves. Raises DidNotComeBack."""
        for each in self._made:
            server = each.server
            if server.release is not self._release or server.state not in (State.RUNNING, State.EXCHANGED):
                raise DidNotComeBack(server, "died right after its restart", hint=self._its_log(server))

    async def undo(self) -> bool:
        """Each goes back, whatever the others do; who cannot is told. Returns whether all have gone back."""
        if not self._made:
            return True
        try:
            with self._report.step("Going back to the former release"):
                results = await asyncio.gather(*map(self._go_back, self._made), return_exceptions=True)
                results.append(await self._stop_started())
                if failures := [result for result in results if isinstance(result, BaseException)]:
                    raise ZenwebserverError("\n".join(map(str, failures)))
        except ZenwebserverError as error:
            self._report.note(error.message)
            return False
        return True

    async def _go_back(self, made: Exchange) -> None:
        server = made.server
        if made.undo:
            await made.undo()
        if made.former is None or server.release is not self._release:
            return
        if server.serves:  # and its former process has ended
            await server.exchange(made.former)
            server.settle()
        elif server.comes_back:
            server.release = made.former
            await server.start()

    async def _stop_started(self) -> Exception | None:
        """Those that did not run before. Returns what kept nginx from being told."""
        started = [made.server for made in self._made if not made.former and not made.server.rests]
        try:
            await take_out(self._supervisor, self._report, started)
            for server in started:
                await server.leave()
        except ZenwebserverError as error:
            return error
        return None

    def settle(self) -> None:
        for made in self._made:
            made.server.settle()

    def _its_log(self, server: Server) -> str:
        return f"Its log: {self._supervisor.home.server_log(server.name)}"
