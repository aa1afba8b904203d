"""What processes of the site are started with. Builds arguments and environment; runs nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import zenwebserver
from zenwebserver.home import Home
from zenwebserver.settings import Settings

# A file, not its folder: a buildout's bin/zopepy takes nothing else.
WORKER = Path(zenwebserver.__file__).parent / "worker" / "__main__.py"


def order(home: Home, settings: Settings, name: str, *, release: str, warm_up: bool) -> dict[str, Any]:
    """What a server of the pool is to become (worker/server.py, Order)."""
    return {
        "server": name,
        "release": release,
        "zope_ini": str(home.zope_ini),
        "zope_conf": str(home.server_conf(name)),
        "threads": settings.threads,
        "supervisor": str(home.workers_socket),
        "warmup_paths": settings.warmup_paths if warm_up else (),
        "base": settings.url(),
        "root": settings.site_root,
    }


def foreground_arguments(home: Home, settings: Settings, name: str, *, threads: int) -> list[str]:
    """The command of a server in the foreground; whoever runs it adds the listening socket's descriptor."""
    what = {
        "server": name,
        "zope_ini": str(home.zope_ini),
        "zope_conf": str(home.server_conf(name)),
        "threads": threads,
    }
    return arguments(settings, what)


def zygote_arguments(home: Home, settings: Settings, release: str, conf: Path) -> list[str]:
    """The command of a release's zygote."""
    what = {
        "zygote": release,
        "zope_ini": str(home.zope_ini),
        "zope_conf": str(conf),
        "supervisor": str(home.workers_socket),
    }
    return arguments(settings, what)


def storage_arguments(python: str, conf: Path) -> list[str]:
    """The command of the ZEO server."""
    return [python, str(WORKER), json.dumps({"storage": str(conf)})]


def check_arguments(settings: Settings, conf: Path) -> list[str]:
    """The command that reads a zope.conf as Zope does, and opens nothing."""
    return arguments(settings, {"check": str(conf)})


def arguments(settings: Settings, what: dict[str, Any]) -> list[str]:
    """The command of a process in the site's Python that becomes `what`."""
    return [str(settings.python), str(WORKER), json.dumps(what)]


def environment(home: Home) -> dict[str, str]:
    """The environment of the site: ours, and which home it belongs to."""
    return {**os.environ, "ZENHOME": str(home.path), "INSTANCE_HOME": str(home.path), "PYTHONUNBUFFERED": "1"}
