"""Whether all that is asked for runs, and what does not, in few words. Pure: from what `status` knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Part = dict[str, Any]
UNDER_WAY = ("stopped", "starting", "stopping")  # states in which a change that goes on may have a server


@dataclass(frozen=True)
class Condition:
    """`up`: nginx and a server run. `complete`: and so does all else that is asked for. `summary` says what differs."""

    up: bool
    complete: bool
    summary: str


def condition(status: Part) -> Condition:
    """A detached server that runs is no fault, and neither is one that a change under way is about to start."""
    nginx, storage = status["loadbalancer"]["pid"], status["storage"]
    servers = [server for server in status["servers"] if server.get("deployed", True)]
    running = [server for server in servers if server["pid"]]
    detached = [server for server in servers if not server["attached"]]
    surplus = [server for server in status["servers"] if not server.get("deployed", True) and server["pid"]]
    told_otherwise = [server for server in status["servers"] if nginx and differs(server)]
    change = status.get("change", "")
    missing = [s for s in servers if not s["pid"] and not (change and s.get("state") in UNDER_WAY)]
    up = bool(nginx and (running or surplus))
    storage_fails = bool(storage.get("needed") and not storage["pid"] and running)
    parts = {
        f"{len(running)} of {len(servers)} servers": True,
        f"{len(detached)} detached": detached,
        f"{len(surplus)} not deployed any more": surplus,
        "the load balancer is down" + _because(status["loadbalancer"]): not nginx,
        f"the load balancer runs: pid={nginx}": nginx and not up,
        "nginx has another pool": told_otherwise,
        "storage is down" + _because(storage): storage_fails,
        f"storage runs: pid={storage['pid']}": storage["pid"] and not up,
        f"under way: {change}": change,
    }
    complete = up and not missing and not storage_fails and (bool(change) or not told_otherwise)
    something = bool(nginx or running or surplus or storage["pid"] or change)
    quiet = (complete and not detached and not surplus and not change) or not something
    return Condition(up, complete, "" if quiet else "; ".join(words for words, said in parts.items() if said))


def differs(server: Part) -> bool:
    """Whether nginx is known to send visitors elsewhere than it should by the record and by what runs."""
    sends = server.get("nginx_sends")
    serves = bool(server["pid"] or server.get("state") == "reviving")
    if sends:
        return not (server["attached"] and serves)
    return sends is False and bool(server["attached"] and server["pid"])


def words_of(server: Part) -> str:
    """How nginx and the record see it; "" where it is in the pool, and nginx knows it."""
    sends = server.get("nginx_sends")
    if not server.get("deployed", True):
        return "Not deployed any more" + (", but nginx sends it visitors" if sends else "")
    if not server["attached"]:
        return "Detached from server pool" + (" by the record, but nginx sends it visitors" if sends else "")
    if not differs(server):
        return ""
    if sends:
        return "It does not run, but nginx sends it visitors"
    return "Attached to the server pool by the record, but nginx sends it no visitors"


def _because(part: Part) -> str:
    return f" ({part['reason']})" if part.get("reason") else ""
