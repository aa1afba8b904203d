"""What is running now, as a value for the API."""

from __future__ import annotations

from typing import Any

from zenwebserver.machine import ports
from zenwebserver.supervisor.parts.kept_alive import State
from zenwebserver.supervisor.supervisor import Supervisor


def snapshot(supervisor: Supervisor) -> dict[str, Any]:
    """The pool, its servers, storage and the load balancer. Reads only what the supervisor knows."""
    balancer, storage = supervisor.balancer, supervisor.storage
    numbers = sorted({*supervisor.pool.servers, *supervisor.servers})
    return {
        "home": str(supervisor.home.path),
        "running": balancer.pid is not None and any(server.pid for server in supervisor.servers.values()),
        "change": supervisor.changes.current,
        "url": f"{supervisor.settings.url()}/",
        "loadbalancer": {**_part(balancer), "ports": ports.listened(balancer.pid) if balancer.pid else []},
        "storage": {**_part(storage), "socket": str(supervisor.home.storage_socket)},
        "servers": [_server(supervisor, number) for number in numbers],
        "releases": [
            {"name": each.name, "zygote": each.zygote.process.pid if each.zygote and each.can_fork else None}
            for each in supervisor.releases
        ],
    }


def _server(supervisor: Supervisor, number: int) -> dict[str, Any]:
    server = supervisor.server(number)
    host, port = server.address
    return {
        "number": number,
        **_part(server),
        "host": host,
        "port": port,
        "listening": server.state is State.RUNNING,
        "attached": supervisor.pool.servers.get(number, False),
        "release": server.release.name if server.release else None,
        "ordinary": server.release.why_ordinary if server.release else "",
        "warm": bool(server.release and server.release.warm),
        "figures": server.worker.standing.get("figures", {}) if server.worker else {},
        "leaving": sorted(worker.process.pid for worker in server.leaving),
    }


def _part(part: Any) -> dict[str, Any]:
    return {"state": str(part.state), "pid": part.pid, "reason": part.reason}
