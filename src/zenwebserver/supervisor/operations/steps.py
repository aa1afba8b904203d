"""The steps that several operations do."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Iterable, Sequence

from zenwebserver import pool
from zenwebserver.errors import ZenwebserverError, told
from zenwebserver.home import Home
from zenwebserver.machine.ports import CannotBind
from zenwebserver.pool import DEFAULT_SIZE, Pool, Targets, parse_targets
from zenwebserver.settings import Settings
from zenwebserver.supervisor import published
from zenwebserver.supervisor.line import site_python
from zenwebserver.supervisor.line.worker import StartError
from zenwebserver.supervisor.membership import NotPublished
from zenwebserver.supervisor.operations import elsewhere
from zenwebserver.supervisor.operations.init import refresh_shipped_files
from zenwebserver.supervisor.parts.release import Release
from zenwebserver.supervisor.parts.server import Server
from zenwebserver.supervisor.parts.state import State
from zenwebserver.supervisor.report import Report
from zenwebserver.supervisor.supervisor import Supervisor

logger = logging.getLogger(__name__)


def prepare(supervisor: Supervisor, *, anywhere: bool = False) -> None:
    """The settings as they are now, and the record of the pool.

    Raises UsageError where no home was made, or where it leads into another one, unless `anywhere`.
    """
    if not supervisor.home.exists():
        raise supervisor.home.missing()
    if not anywhere:
        elsewhere.refuse(supervisor.home)
    supervisor.home.make_folders()
    refresh_shipped_files(supervisor.home)
    supervisor.read_settings()
    supervisor.read_pool()
    forget_former_place(supervisor)


def forget_former_place(supervisor: Supervisor) -> None:
    """What was made for the place where the home was before is made anew when it is next needed."""
    home = supervisor.home
    if place := published.former_place(home):
        logger.warning("The home was at %s: %s is made anew; the former one is kept as .prev", place, home.nginx_conf)
        home.nginx_conf.replace(home.nginx_conf.with_name(f"{home.nginx_conf.name}.prev"))


def prepare_pool(supervisor: Supervisor, targets: Sequence[str]) -> Targets:
    """For what may be the first start of a home: servers are deployed where there are none. Returns the `targets`.

    Raises ZenwebserverError.
    """
    prepare(supervisor)
    if not supervisor.pool.servers:
        supervisor.record(supervisor.pool.grown(DEFAULT_SIZE))
        supervisor.read_pool()
    return parse_targets(targets, supervisor.pool)


async def note_outdated(home: Home, settings: Settings, report: Report) -> None:
    """Changed settings or a changed template reach nginx only through `configure`."""
    if not await published.is_current(home, settings):
        report.note("etc/nginx.conf is older than the settings or template; to renew it: zenwebserver configure")


def forget_undeployed(supervisor: Supervisor) -> None:
    """Configurations left by a deploy that was interrupted."""
    for path in supervisor.home.pool_folder.glob("zope*.conf"):
        name = path.stem.removeprefix("zope")
        if name.isdecimal() and int(name) not in supervisor.pool.servers and int(name) not in supervisor.servers:
            supervisor.forget_files(name)


async def start_storage(supervisor: Supervisor, report: Report, *, named: bool = False) -> bool:
    """Returns whether it had to be started."""
    if supervisor.storage.serves:
        if named:
            report.note("Storage runs already")
        return False
    if supervisor.write_storage_conf():
        await site_python.check(supervisor.home, supervisor.settings.python, storage=True)
        with report.step("Starting Storage"):
            await supervisor.storage.start()
        return True
    if named:
        report.note("Storage is not needed: the site's own configuration uses a shared one")
    return False


async def stop_unused_storage(supervisor: Supervisor, *, ran: bool) -> None:
    """What was started for servers that did not come up; where it `ran` before, others may need it."""
    needed = supervisor.sessions or any(server.wanted or server.leaving for server in supervisor.servers.values())
    if not ran and not needed:
        await supervisor.storage.stop()


async def load_release(supervisor: Supervisor, report: Report, *, anew: bool = False) -> Release:
    """The release that servers join; loaded where there is none, or `anew`."""
    await supervisor.retire_releases()
    if supervisor.releases and not anew:
        return supervisor.releases[-1]
    await site_python.check(supervisor.home, supervisor.settings.python)
    try:
        with report.step("Loading the site"):
            release = await supervisor.new_release()
    except StartError as error:
        serves = "; what ran before goes on serving" if any_serves(supervisor) else ""
        raise StartError(f"{error.message}{serves}", hint=error.hint, detail=error.detail) from error
    if release.why_ordinary:
        report.note(f"Servers start the ordinary way: {release.why_ordinary}")
    return release


def any_serves(supervisor: Supervisor) -> bool:
    return bool(serving(supervisor))


def serving(supervisor: Supervisor) -> frozenset[int]:
    return frozenset(number for number, server in supervisor.servers.items() if server.serves)


def refuse_empty(supervisor: Supervisor, wanted: Pool, *, without: Sequence[int], hint: str) -> None:
    """Where the site is up, somebody attached must run; where it is down, somebody must be attached.

    Raises ZenwebserverError.
    """
    up = supervisor.balancer.serves
    if not any(not up or supervisor.servers[number].wanted for number in wanted.attached):
        raise ZenwebserverError(f"Without {names(without)} the pool would be empty", hint=hint)


def put_back(supervisor: Supervisor, former: Pool, reason: Exception) -> None:
    """What was asked for could not be done: `former` is the record again. Raises ZenwebserverError."""
    if former == supervisor.pool:
        return
    try:
        pool.put_back(supervisor.home.pool_record, former)
    except OSError as error:
        asked_for = ", ".join(map(str, supervisor.pool.numbers))
        raise ZenwebserverError(
            f"{reason}; and the pool's record could not be put back: {told(error)}",
            hint=f"It asks for the servers {asked_for}. When the disk has room, repeat the command, or: "
            f"zenwebserver deploy {len(former.servers)}",
            detail=getattr(reason, "detail", ""),
        ) from error
    supervisor.pool = former


def names(numbers: Sequence[int]) -> str:
    """Such as "Server 2, 3"; none, where there is none."""
    return "Server " + ", ".join(map(str, numbers)) if numbers else ""


def say_what_stands(error: ZenwebserverError, stands: str) -> None:
    """It ends an operation that had begun to change things, and has left them so."""
    error.hint = f"{stands} {'' if isinstance(error, NotPublished) else error.hint}".strip()


async def start_servers(
    supervisor: Supervisor,
    report: Report,
    servers: Sequence[Server],
    *,
    release: Release | None = None,
    quiet: bool = False,
) -> list[ZenwebserverError]:
    """Start those that do not serve, as many at a time as there are processors. Returns what failed."""
    stopped = [server for server in servers if not server.serves]
    for server in servers:
        if server not in stopped and not quiet:
            report.note(f"{server.title} runs already")
    if not stopped:
        return []
    joined = release or await load_release(supervisor, report)
    failures: list[ZenwebserverError] = []
    at_once = asyncio.Semaphore(os.cpu_count() or 1)

    async def start_one(server: Server) -> None:
        async with at_once:
            try:
                with report.step(f"Starting {server.title}"):
                    await supervisor.start_server(server, joined)
            except (ZenwebserverError, OSError) as error:
                failures.append(did_not_come_up(supervisor, server, error))

    if supervisor.is_new():
        await start_one(stopped.pop(0))
    if not failures:
        await together(map(start_one, stopped))
    return failures


async def together(works: Iterable[Awaitable[None]]) -> None:
    """Each to its end, also where another one fails; then the first error is raised."""
    for ended in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(ended, BaseException):
            raise ended


async def start_loadbalancer(supervisor: Supervisor, report: Report, *, quiet: bool = False) -> None:
    balancer = supervisor.balancer
    if balancer.serves:
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


async def take_out(supervisor: Supervisor, report: Report, servers: Sequence[Server]) -> None:
    """Until no nginx worker knows them any more; others may change things meanwhile, and start them again."""
    if supervisor.balancer.serves and servers:
        with report.step("Taking them out of the pool"):
            without = frozenset(server.number for server in servers)
            if supervisor.nginx_knows_the_pool(without=without):
                outdated = supervisor.balancer.outdated_workers()
            else:
                outdated = await supervisor.publish(without=without)
            await retire(servers)
            async with supervisor.changes.given_up():
                if not await supervisor.balancer.workers_gone(outdated):
                    report.note("Requests in nginx outlasted drainTimeout")
    else:
        await retire(servers)


async def retire(servers: Sequence[Server]) -> None:
    for server in servers:
        await server.retire()


async def remove_surplus(supervisor: Supervisor, report: Report) -> None:
    """Servers that the record does not ask for, the highest first: out of the pool, told to leave, forgotten.

    They leave by themselves: whoever shrinks the pool does not wait for their last answers.
    """
    numbers = sorted(set(supervisor.servers) - set(supervisor.pool.servers), reverse=True)
    surplus = [server for number in numbers if not (server := supervisor.servers[number]).rests or not server.leaving]
    await take_out(supervisor, report, [server for server in surplus if not server.rests])
    for server in surplus:
        if server.number in supervisor.pool.servers or supervisor.servers.get(server.number) is not server:
            continue  # it was deployed again meanwhile, or has gone
        with report.step(f"Removing {server.title}"):
            if server.state is State.STOPPING:
                await server.leave()
        supervisor.forget_server(server.number)


def did_not_come_up(supervisor: Supervisor, server: Server, error: ZenwebserverError | OSError) -> ZenwebserverError:
    hint = f"Its log: {supervisor.home.server_log(server.name)}"
    if isinstance(error, CannotBind):
        hint = (
            f"End what has it; or set another serverBasePort in {supervisor.home.settings_file}, "
            "then: zenwebserver stop, zenwebserver start"
        )
    return ZenwebserverError(
        f"{server.title} did not come up: {told(error)}",
        hint=getattr(error, "hint", "") or hint,
        detail=getattr(error, "detail", ""),
    )
