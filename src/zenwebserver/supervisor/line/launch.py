"""What processes of the site are started with. Builds arguments and environment; runs nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import zenwebserver
from zenwebserver.home import Home
from zenwebserver.settings import Settings
from zenwebserver.worker.messages import ServerSpec, StorageSpec, ZygoteSpec, encode

# A file, not its folder: a buildout's bin/zopepy takes nothing else.
WORKER = Path(zenwebserver.__file__).parent / "worker" / "__main__.py"


def server_spec(home: Home, settings: Settings, name: str, *, release: str, token: str, warm_up: bool) -> ServerSpec:
    """What a server of the pool is to become."""
    return ServerSpec(
        server=name,
        release=release,
        token=token,
        zope_ini=str(home.zope_ini),
        zope_conf=str(home.server_conf(name)),
        threads=settings.threads,
        supervisor=str(home.workers_socket),
        warmup_paths=tuple(settings.warmup_paths) if warm_up else (),
        base=settings.url(),
        root=settings.site_root,
        error_page=str(home.error_page),
    )


def server_arguments(settings: Settings, spec: ServerSpec) -> list[str]:
    """The command of a server that loads the site by itself."""
    return _arguments(settings, encode(spec).decode().rstrip())


def foreground_arguments(home: Home, settings: Settings, name: str, *, threads: int) -> list[str]:
    """The command of a server in the foreground; whoever runs it adds the listening socket's descriptor."""
    spec = ServerSpec(
        server=name,
        zope_ini=str(home.zope_ini),
        zope_conf=str(home.server_conf(name)),
        threads=threads,
        error_page=str(home.error_page),
        root=settings.site_root,
    )
    return server_arguments(settings, spec)


def zygote_arguments(home: Home, settings: Settings, release: str, conf: Path, *, token: str) -> list[str]:
    """The command of a release's zygote."""
    spec = ZygoteSpec(
        zygote=release,
        token=token,
        zope_ini=str(home.zope_ini),
        zope_conf=str(conf),
        supervisor=str(home.workers_socket),
    )
    return _arguments(settings, encode(spec).decode().rstrip())


def storage_arguments(home: Home, python: str, *, token: str) -> list[str]:
    """The command of the ZEO server."""
    spec = StorageSpec(storage=str(home.storage_conf), token=token, supervisor=str(home.workers_socket))
    return [python, str(WORKER), encode(spec).decode().rstrip()]


def calls(argument: str) -> bool:
    """Whether what was started with `argument` calls the supervisor; storage did not always."""
    return '"supervisor": "' in argument


def check_arguments(settings: Settings, conf: Path) -> list[str]:
    """The command that reads a zope.conf as Zope does, and opens nothing."""
    return _arguments(settings, json.dumps({"check": str(conf)}))


def present_arguments(python: str, modules: Sequence[str]) -> list[str]:
    """The command that says which of `modules` it has not, as JSON in its last line."""
    return [python, str(WORKER), json.dumps({"present": list(modules)})]


def _arguments(settings: Settings, what: str) -> list[str]:
    return [str(settings.python), str(WORKER), what]


def environment(home: Home) -> dict[str, str]:
    """The environment of the site: ours, and which home it belongs to."""
    return {**os.environ, "ZENHOME": str(home.path), "INSTANCE_HOME": str(home.path), "PYTHONUNBUFFERED": "1"}
