"""What runs though no supervisor answers, from pid files and from what processes are called. Reads only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from zenwebserver import pool
from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.machine import files, ports
from zenwebserver.machine.identity import Identity, started_as, started_with
from zenwebserver.nginx import pool_file


def parts(home: Home) -> dict[str, Any]:
    """As `status` says it: from pid files whose processes live. Raises ZenwebserverError."""
    deployed = pool.load(home.pool_record)
    servers: list[dict[str, Any]] = [
        {
            "number": number,
            "attached": deployed.servers[number],
            "reason": "",
            "leaving": [],
            **_listening(_pid(home.pid_file(f"zope{number}"))),
        }
        for number in deployed.numbers
    ]
    balancer = _listening(_nginx_pid(home))
    told = _told(home) if balancer["pid"] else frozenset()
    for server in servers:
        addresses = server["ports"]
        server["nginx_sends"] = bool(told.intersection(addresses)) if told is not None and addresses else None
    return {
        "loadbalancer": {"pid": balancer["pid"], "ports": balancer["ports"], "reason": ""},
        "storage": {
            "pid": _storage_pid(home),
            "reason": "",
            "socket": str(home.storage_socket),
            "needed": home.storage_conf.exists(),
        },
        "servers": servers,
    }


def _told(home: Home) -> frozenset[str] | None:
    """Where nginx sends visitors, by its own file."""
    try:
        return pool_file.addresses(files.read_text(home.nginx_pool_conf))
    except (OSError, ZenwebserverError):
        return None


def supervisor_without_home(home: Home) -> Identity | None:
    """The one that goes on though its home was removed or moved away: what it runs goes on serving."""
    if home.etc.is_dir():
        return None
    return next(iter(started_as(["-m", "zenwebserver.supervisor", str(home.path)])), None)


def _pid(pid_file: Path) -> int | None:
    identity = Identity.read(pid_file)
    return identity.pid if identity else None


def _storage_pid(home: Home) -> int | None:
    """By its command, where its pid file is lost: whoever stops the site ends it, too."""
    if (named := _pid(home.pid_file("storage"))) or not home.path.is_dir():
        return named
    return next((found.pid for found in started_with(home.storage_mark, home.path.stat().st_uid)), None)


def _listening(pid: int | None) -> dict[str, Any]:
    """The process `pid`, and the TCP addresses on which it listens."""
    addresses = ports.listened(pid) if pid else []
    host, _, port = addresses[0].rpartition(":") if addresses else ("", "", "")
    first = {"host": host, "port": int(port)} if addresses else {}
    return {"pid": pid, "listening": bool(addresses), "ports": addresses, **first}


def _nginx_pid(home: Home) -> int | None:
    """nginx writes its pid alone; the process is ours if its command names our nginx.conf."""
    try:
        pid = int(home.nginx_pid.read_text().split()[0])
        title = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError, IndexError):
        return None
    return pid if b"nginx: master" in title and os.fsencode(home.nginx_conf) in title else None
