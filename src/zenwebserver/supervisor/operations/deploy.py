"""deploy: change how many servers exist."""

from __future__ import annotations

from zenwebserver.errors import NeedsConsent, ZenwebserverError
from zenwebserver.pool import Pool, wanted_size
from zenwebserver.supervisor.membership import NotPublished
from zenwebserver.supervisor.operations.steps import (
    did_not_come_up,
    forget_undeployed,
    load_release,
    names,
    prepare,
    put_back,
    refuse_empty,
    remove_surplus,
    say_what_stands,
    serving,
    start_storage,
    stop_unused_storage,
)
from zenwebserver.supervisor.parts.release import Release
from zenwebserver.supervisor.parts.server import Server
from zenwebserver.supervisor.report import Report
from zenwebserver.supervisor.supervisor import Supervisor


async def deploy(supervisor: Supervisor, report: Report, *, size: str, above_maximum: bool = False) -> str:
    """Exactly as many servers exist and run as `size` (n, +n, -n) says; where fewer can, detached ones end first."""
    prepare(supervisor)
    former = supervisor.pool
    wanted = former.grown(wanted_size(size, len(former.servers))).shrunk(wanted_size(size, len(former.servers)))
    refuse_too_many(supervisor, former, wanted, above_maximum)
    forget_undeployed(supervisor)
    served = serving(supervisor)
    storage_ran = supervisor.storage.wanted
    supervisor.record(wanted)
    try:
        await start_storage(supervisor, report)
        await start_missing(supervisor, report, former, wanted)
        if former.attached:
            removed = tuple(sorted(set(former.servers) - set(wanted.servers)))
            refuse_empty(supervisor, wanted, without=removed, hint="No server was removed.")
        await remove_surplus(supervisor, report)
    except Exception as error:
        keep_what_came_up(supervisor, former, error)
        await stop_unused_storage(supervisor, ran=storage_ran)
        if isinstance(error, ZenwebserverError):
            say_what_stands(error, standing(supervisor, served))
        raise
    if not supervisor.balancer.serves:
        report.note("The load balancer is not running: zenwebserver start")
    return f"{len(wanted.servers)} server{'s'[: len(wanted.servers) != 1]} deployed"


def standing(supervisor: Supervisor, served: frozenset[int]) -> str:
    """What a deploy that failed has left, where the servers `served` before."""
    if more := sorted(serving(supervisor) - served):
        return f"{names(more)} came up and stay{'s' * (len(more) == 1)}; otherwise the pool is as it was."
    return "The pool is as it was."


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
    except NotPublished as error:
        if not came_back:
            await server.stop()
        raise NotPublished(
            f"{server.title} could not be put into the pool: {error.message}", detail=error.detail
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


def keep_what_came_up(supervisor: Supervisor, former: Pool, error: Exception) -> None:
    """The record is `former` again, with the new servers that serve or come back; others do not exist."""
    alive = {number for number, server in supervisor.servers.items() if server.wanted}
    new = {number: attached for number, attached in supervisor.pool.servers.items() if number not in former.servers}
    kept = Pool({**former.servers, **{number: new[number] for number in new if number in alive}})
    put_back(supervisor, kept, error)
    for number in new.keys() & supervisor.servers.keys() - alive:
        supervisor.forget_server(number)
