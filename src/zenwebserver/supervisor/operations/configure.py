"""configure, verify and reload: nginx's configuration from the settings and the template."""

from __future__ import annotations

from zenwebserver import pool
from zenwebserver.errors import ZenwebserverError
from zenwebserver.supervisor import published
from zenwebserver.supervisor.operations import elsewhere
from zenwebserver.supervisor.operations.steps import note_outdated, prepare
from zenwebserver.supervisor.report import Report
from zenwebserver.supervisor.supervisor import Supervisor


async def configure(supervisor: Supervisor, report: Report) -> str:
    """Write etc/nginx.conf; one that nginx rejects replaces nothing."""
    with report.step("Reading settings"):
        prepare(supervisor)
    with report.step("Writing nginx.conf"):
        changed = await supervisor.configure()
    if not changed:
        return "Nothing changed"
    if supervisor.balancer.serves:
        return "To put it into effect: zenwebserver reload (or restart)"
    return "The load balancer is not running; its next start, restart or reload uses it"


async def verify(supervisor: Supervisor, report: Report) -> str:
    """Check settings, template, nginx's configuration and the site's; nothing is changed."""
    if not supervisor.home.exists():
        raise supervisor.home.missing()
    with report.step("Verifying settings"):
        settings = published.read_settings(supervisor.home)
    with report.step("Verifying nginx configuration"):
        pool.load(supervisor.home.pool_record)
        await published.verified(supervisor.home, settings, supervisor.pool_servers())
    with report.step("Verifying zope.conf"):
        elsewhere.refuse(supervisor.home, command="`zenwebserver start`")
        await published.verify_site(supervisor.home, settings)
    if place := published.former_place(supervisor.home):
        report.note(f"etc/nginx.conf was made for {place}; the next start makes it anew")
    elif supervisor.home.nginx_conf.exists():
        await note_outdated(supervisor.home, settings, report)
        with report.step("Verifying etc/nginx.conf"):
            await published.verify_in_place(supervisor.home, settings)
    return "Settings and configurations are well"


async def reload(supervisor: Supervisor, report: Report) -> str:
    """Have nginx read etc/nginx.conf again, verified first."""
    if not supervisor.balancer.serves:
        raise ZenwebserverError("The load balancer is not running", hint="To start it: zenwebserver start")
    with report.step("Verifying nginx configuration"):
        supervisor.read_settings()
        await published.verify_in_place(supervisor.home, supervisor.settings)
    await note_outdated(supervisor.home, supervisor.settings, report)
    with report.step("Reloading Load balancer"):
        exchanged = await supervisor.balancer.reload()
    if exchanged:
        report.note("nginx was exchanged, as by `restart loadbalancer`: it takes up another zone or cache only so")
    return "Reloaded"
