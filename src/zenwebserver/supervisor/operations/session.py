"""run and debug: one server in the foreground of a terminal; the supervisor lends it storage and a configuration."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from zenwebserver.errors import UsageError, ZenwebserverError
from zenwebserver.machine import ports
from zenwebserver.supervisor.line import launch, site_python
from zenwebserver.supervisor.operations.steps import prepare, start_storage
from zenwebserver.supervisor.report import Report
from zenwebserver.supervisor.supervisor import Supervisor

DEBUG_THREADS = 1  # so that a debugger's prompt is not disturbed by another request


@contextlib.asynccontextmanager
async def session(supervisor: Supervisor, report: Report, kind: str) -> AsyncIterator[None]:
    """Inside it, the site can be served by a process in the foreground, whose command is told in an event.

    What was made for it is removed at the end, and storage that ran for it alone is stopped.
    """
    if kind not in ("run", "debug"):
        raise UsageError(f"Not a kind of session: {kind}")
    async with supervisor.changes.make(kind, report.waits):
        if kind in supervisor.sessions:
            raise ZenwebserverError(f"`{kind}` is at work already in another terminal")
        await open_session(supervisor, report, kind)
    try:
        yield
    finally:
        async with supervisor.changes.make(f"ending {kind}"):
            await close_session(supervisor, kind)


async def open_session(supervisor: Supervisor, report: Report, kind: str) -> None:
    prepare(supervisor)
    settings = supervisor.settings
    if kind == "run":
        host, port = settings.http_address, settings.http_port
        if holder := ports.holder(port):
            raise ZenwebserverError(f"Port {port} is taken by {holder}", hint="Nothing was started.")
    else:
        host, port = free_address(supervisor)
    await site_python.check(supervisor.home, settings.python)
    supervisor.sessions.add(kind)
    try:
        ran = supervisor.storage.wanted
        await start_storage(supervisor, report)
        supervisor.storage_is_lent = supervisor.storage_is_lent or not ran
        supervisor.write_server_conf(kind, debug=kind == "debug")
    except BaseException:
        await close_session(supervisor, kind)
        raise
    owner = supervisor.home.path.stat()
    report.event(
        session=launch.foreground_arguments(
            supervisor.home, settings, kind, threads=DEBUG_THREADS if kind == "debug" else settings.threads
        ),
        environment=launch.environment(supervisor.home),
        host=host,
        port=port,
        uid=owner.st_uid,
        gid=owner.st_gid,
    )


async def close_session(supervisor: Supervisor, kind: str) -> None:
    supervisor.sessions.discard(kind)
    supervisor.forget_files(kind)
    servers = supervisor.servers.values()
    needed = supervisor.balancer.wanted or any(server.wanted or server.leaving for server in servers)
    if supervisor.storage_is_lent and not supervisor.sessions and not needed:
        await supervisor.storage.stop()
        supervisor.storage_is_lent = False


def free_address(supervisor: Supervisor) -> tuple[str, int]:
    """The address of the lowest server number that is not deployed and whose port nobody has."""
    number = 1
    while True:
        host, port = supervisor.settings.server_address(number)
        if number not in supervisor.pool.servers:
            with contextlib.suppress(ZenwebserverError):
                ports.bind(host, port).close()
                return host, port
        number += 1
