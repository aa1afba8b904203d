"""What a change begins with: a home, and the settings and the record as they are now."""

from __future__ import annotations

from zenwebserver.home import Home
from zenwebserver.settings import Settings
from zenwebserver.supervisor import published
from zenwebserver.supervisor.operations.init import make_home, refresh_shipped_files
from zenwebserver.supervisor.report import Report
from zenwebserver.supervisor.supervisor import Supervisor


def prepare(supervisor: Supervisor, report: Report) -> None:
    """A home, the settings as they are now, and the record of the pool."""
    if supervisor.home.exists():
        refresh_shipped_files(supervisor.home)
    else:
        make_home(supervisor.home, report, {})
    supervisor.read_settings()
    supervisor.read_pool()


async def note_outdated(home: Home, settings: Settings, report: Report) -> None:
    """Changed settings or a changed template reach nginx only through `configure`."""
    if not await published.is_current(home, settings):
        report.note("etc/nginx.conf is older than the settings or template; to renew it: zenwebserver configure")
