"""What is running now, as a value for the API. Reads only: nothing is made or changed by looking."""

from __future__ import annotations

import dataclasses
from typing import Any

from zenwebserver.errors import ZenwebserverError
from zenwebserver.machine import ports
from zenwebserver.site import zope_conf
from zenwebserver.supervisor.parts.kept_alive import KeptAlive
from zenwebserver.supervisor.parts.server import Server
from zenwebserver.supervisor.parts.state import State
from zenwebserver.supervisor.supervisor import Supervisor


def snapshot(supervisor: Supervisor) -> dict[str, Any]:
    """The pool, its servers, storage and the load balancer."""
    balancer, storage = supervisor.balancer, supervisor.storage
    deployed = supervisor.pool.servers
    return {
        "home": str(supervisor.home.path),
        "running": balancer.pid is not None and any(server.pid for server in supervisor.servers.values()),
        "change": supervisor.changes.current,
        "url": f"{supervisor.settings.url()}/",
        "loadbalancer": {**_part(balancer), "ports": ports.listened(balancer.pid) if balancer.pid else []},
        "storage": {
            **_part(storage),
            "socket": str(supervisor.home.storage_socket),
            "needed": _needs_storage(supervisor),
        },
        "servers": [
            {
                **_server(server),
                "deployed": number in deployed,
                "attached": deployed.get(number, False),
                "nginx_sends": supervisor.nginx_sends_to(server),
            }
            for number, server in sorted(supervisor.servers.items())
        ],
        "releases": [
            {"name": each.name, "zygote": each.zygote.process.pid if each.zygote and each.forks else None}
            for each in supervisor.releases
        ],
    }


def _needs_storage(supervisor: Supervisor) -> bool:
    """Whether the site needs a storage of ours."""
    try:
        return bool(zope_conf.read(supervisor.home.zope_conf).shared_storages)
    except (ZenwebserverError, OSError):
        return supervisor.storage.wanted  # whoever starts it next says what is wrong


def _server(server: Server) -> dict[str, Any]:
    host, port = server.address
    return {
        "number": server.number,
        **_part(server),
        "host": host,
        "port": port,
        "listening": server.serves,
        "release": server.release.name if server.release else None,
        "ordinary": server.release.why_ordinary if server.release else "",
        "warm": bool(server.release and server.release.warm),
        "figures": dataclasses.asdict(server.worker.figures) if server.worker else {},
        "leaving": sorted(worker.process.pid for worker in server.leaving),
    }


def _part(part: KeptAlive) -> dict[str, Any]:
    """Its exchange and its coming back are one state each to whoever looks from outside."""
    state = State.RUNNING if part.serves else State.REVIVING if part.comes_back else part.state
    return {"state": str(state), "pid": part.pid, "reason": part.reason}
