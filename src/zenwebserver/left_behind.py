"""What runs though no supervisor answers, from pid files and from what processes are called. Reads only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from zenwebserver import pool
from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.machine import files, ports
from zenwebserver.machine.files import current_place
from zenwebserver.machine.identity import Identity, started_as, started_with, working_folder
from zenwebserver.nginx import pool_file


def parts(home: Home) -> dict[str, Any]:
    """As `status` says it: from pid files whose processes live; no servers where the record cannot be read."""
    deployed = _deployed(home)
    servers: list[dict[str, Any]] = [
        {
            "number": number,
            "attached": deployed.servers[number],
            "reason": "",
            "leaving": [],
            **_listening(_pid(home, f"zope{number}")),
        }
        for number in deployed.numbers
    ]
    balancer = _listening(_nginx_pid(home))
    told = _told(home) if balancer["pid"] else frozenset()
    for server in servers:
        addresses = server["ports"]
        server["nginx_sends"] = bool(told.intersection(addresses)) if told is not None and addresses else None
    return {
        "home": str(home.path),
        "running": bool(balancer["pid"]) and any(server["pid"] for server in servers),
        "change": "",
        "loadbalancer": {"pid": balancer["pid"], "ports": balancer["ports"], "reason": ""},
        "storage": {
            "pid": _storage_pid(home),
            "reason": "",
            "socket": str(home.storage_socket),
            "needed": home.storage_conf.exists(),
        },
        "servers": servers,
    }


def _deployed(home: Home) -> pool.Pool:
    try:
        return pool.load(home.pool_record)
    except ZenwebserverError:  # whoever needs it says what is wrong
        return pool.Pool()


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


def moved_to(supervisor: Identity) -> Path | None:
    """Where the home of a supervisor is now, by the folder that it has locked (supervisor/lock.py)."""
    try:
        opened = list(Path(f"/proc/{supervisor.pid}/fd").iterdir())
    except OSError:
        return None
    places = (place for each in opened if (place := current_place(each)) and place.name == "etc")
    return next((place.parent for place in places if Home(place.parent).exists()), None)


def supervised_by(supervisor: Identity) -> Path | None:
    """The home that a supervisor was started for, by the words of its command (supervisor/__main__.py)."""
    try:
        words = os.fsdecode(Path(f"/proc/{supervisor.pid}/cmdline").read_bytes()).split("\0")
        return Path(words[words.index("zenwebserver.supervisor") + 1])
    except (OSError, ValueError, IndexError):
        return None


def _pid(home: Home, name: str) -> int | None:
    """Of a copied home the pid files name the processes of the other one."""
    identity = Identity.read(home.pid_file(name))
    return identity.pid if identity and identity.works_in(home.path) else None


def _storage_pid(home: Home) -> int | None:
    """By its command, where its pid file is lost: whoever stops the site ends it, too."""
    if (named := _pid(home, "storage")) or not home.path.is_dir():
        return named
    found = started_with(home.storage_mark, home.path.stat().st_uid)
    return next((each.pid for each in found if not home.is_other_than(working_folder(each.pid))), None)


def _listening(pid: int | None) -> dict[str, Any]:
    """The process `pid`, and the TCP addresses on which it listens."""
    addresses = ports.listened(pid) if pid else []
    host, _, port = addresses[0].rpartition(":") if addresses else ("", "", "")
    first = {"host": host, "port": int(port)} if addresses else {}
    return {"pid": pid, "listening": bool(addresses), "ports": addresses, **first}


def _nginx_pid(home: Home) -> int | None:
    """nginx writes its pid alone; the process is ours if its command names our nginx.conf, or it works in our home.

    The latter alone after the home was moved here.
    """
    try:
        pid = int(home.nginx_pid.read_text().split()[0])
        title = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError, IndexError):
        return None
    if b"nginx: master" not in title:
        return None
    named = b" -c " + os.fsencode(home.nginx_conf) in title and not home.is_other_than(working_folder(pid))
    identity = Identity.of(pid)
    return pid if named or (identity and identity.works_in(home.path)) else None
