"""What a server process is started with. Builds arguments and environment; runs nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import zenwebserver
from zenwebserver.home import Home
from zenwebserver.settings import Settings

WORKER = Path(zenwebserver.__file__).parent / "worker"


def arguments(home: Home, settings: Settings, name: str) -> list[str]:
    """The command of a server of the pool, which reports to the supervisor."""
    return _worker(home, settings, name, threads=settings.threads, supervisor=str(home.workers_socket))


def foreground_arguments(home: Home, settings: Settings, name: str, *, threads: int) -> list[str]:
    """The command of a server in the foreground; whoever runs it gives it the listening socket as standard input's neighbour."""
    return _worker(home, settings, name, threads=threads)


def _worker(home: Home, settings: Settings, name: str, **further: object) -> list[str]:
    order = {
        "server": name,
        "zope_ini": str(home.zope_ini),
        "zope_conf": str(home.server_conf(name)),
        **further,
    }
    return [str(settings.python), str(WORKER), json.dumps(order)]


def environment(home: Home) -> dict[str, str]:
    """The environment of the site: ours, and which home it belongs to."""
    return {**os.environ, "ZENHOME": str(home.path), "INSTANCE_HOME": str(home.path), "PYTHONUNBUFFERED": "1"}
