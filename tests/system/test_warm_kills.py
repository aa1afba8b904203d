"""Whatever is killed at whatever step: one `start` later everything that was asked for is there, and once.

Meanwhile visitors lose what was inside the killed process, and nothing else.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import psutil
import pytest
from harness import Site, wait_until
from load import Load
from losses import CONNECTION_CUT, IN_THE_SERVER, REFUSED, Loss, beyond
from seen import stored
from warm import all_up, status, write_code, zygotes

from zenwebserver.client.client import Client
from zenwebserver.client.events import CutOff
from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home

SITE = "warm"
SERVERS = 2
SETTINGS = {"threads": 2, "drainTimeout": 20, "warmupPaths": "/page"}


@dataclass(frozen=True)
class Victim:
    """A process, and what visitors may lose with it. It is found with the releases known that were there before."""

    find: Callable[[Site, set[str]], psutil.Process]
    losses: tuple[Loss, ...] = ()


def named(name: str) -> Callable[[Site, set[str]], psutil.Process]:
    return lambda site, _: psutil.Process(site.pid(name))


def newest_zygote(site: Site, _: set[str]) -> psutil.Process:
    found = zygotes(site)
    return found[max(found, key=int)]


def loading_zygote(site: Site, known: set[str]) -> psutil.Process:
    wait_until(lambda: set(zygotes(site)) - known, "it has begun")
    return newest_zygote(site, known)


VICTIMS = {
    "supervisor": Victim(named("supervisor")),
    "zygote": Victim(newest_zygote),
    "loading zygote": Victim(loading_zygote),
    # Another server is in the pool: it is asked for every GET that the killed one had.
    "server": Victim(named("zope1"), IN_THE_SERVER),
    "storage": Victim(named("storage")),  # requests wait for the next one
    # Its workers answer what they have and go on until they are told to leave; between the last of them and the next
    # nginx nobody listens.
    "nginx": Victim(named("nginx"), (CONNECTION_CUT, REFUSED)),
    "nginx worker": Victim(lambda site, _: site.workers_of_nginx()[0], (CONNECTION_CUT,)),
}


@dataclass(frozen=True)
class Row:
    """While `operation` does `step`, `victim` is killed."""

    operation: str
    step: str
    victim: str
    what: dict[str, Any] = field(default_factory=dict)  # what the operation is told
    before: str = ""  # a command that makes it possible
    fault: str = ""  # of the code that is loaded
    visited: bool = True  # False: the load balancer is stopped by the operation itself

    def __str__(self) -> str:
        return f"{self.operation}, {self.step}: {self.victim}"


def rows(operation: str, step: str, *victims: str, **more: Any) -> list[Row]:
    return [Row(operation, step, victim, **more) for victim in victims]


UP = {"what": {"size": "+1"}}
DOWN = {"what": {"size": "-1"}, "before": "deploy 3"}
TWO = {"targets": ["2"]}
ROWS = [
    *rows("restart", "Restarting Load balancer", "nginx", "nginx worker", "supervisor"),
    *rows("restart", "Loading the site", "zygote", "loading zygote", "supervisor", "storage"),
    *rows("restart", "Restarting Server 1", "zygote", "server", "supervisor"),
    *rows("restart", "Restarting Server 2", "server", "supervisor", "nginx worker", "storage"),
    *rows(
        "restart",
        "Going back to the former release",
        *("supervisor", "server", "zygote", "storage", "nginx"),
        what={"targets": ["servers"]},
        fault="page zope2",
    ),
    *rows("restart", "Restarting Storage", "supervisor", "server", what={"targets": ["storage"]}),
    *rows("deploy", "Deploying Server", "supervisor", "zygote", "storage", "server", **UP),
    *rows("deploy", "Taking them out of the pool", "supervisor", "nginx", "server", **DOWN),
    *rows("deploy", "Removing Server", "supervisor", "nginx worker", "storage", **DOWN),
    *rows("stop", "Taking them out of the pool", "supervisor", "zygote", what=TWO),
    *rows("stop", "Stopping Server 2", "supervisor", "storage", what=TWO),
    *rows("start", "Starting Server 2", "supervisor", "zygote", what=TWO, before="stop 2"),
    *rows("detach", "Detaching Server 2", "supervisor", "nginx", what=TWO),
    *rows("attach", "Attaching Server 2", "supervisor", "nginx worker", what=TWO, before="detach 2"),
    *rows("reload", "Reloading Load balancer", "supervisor", "nginx", "nginx worker"),
    *rows("stop", "Stopping Load balancer", "supervisor", "nginx", "server", visited=False),
    *rows("stop", "Stopping Server", "supervisor", visited=False),
    *rows("stop", "Stopping Storage", "supervisor", visited=False),
    *rows("start", "Starting Storage", "supervisor", before="stop servers storage", visited=False),
    *rows("start", "Loading the site", "supervisor", "loading zygote", before="stop servers storage", visited=False),
    *rows("start", "Starting Load balancer", "supervisor", "server", before="stop nginx", visited=False),
]


def operate_and_kill(site: Site, row: Row) -> bool:
    """Whether the step came; the operation's own end does not matter."""
    killed, known, victim = False, set(zygotes(site)), VICTIMS[row.victim]
    # What is stopped may be gone when its stop is heard of.
    found = victim.find(site, known) if row.operation == "stop" else None
    try:
        for event in Client(Home.at(site.home)).operate(row.operation, **row.what):
            if event.get("begin", "").startswith(row.step) and not killed:
                with suppress(psutil.NoSuchProcess):
                    (found or victim.find(site, known)).kill()
                killed = True
    except (ZenwebserverError, CutOff):
        assert row.victim == "supervisor"
    return killed


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_after_a_kill_one_start_gives_what_was_asked_for(shared: Site, row: Row) -> None:
    victim, before = VICTIMS[row.victim], set(stored(shared))
    if row.before:
        shared.ok(*row.before.split())
    size = len(recorded(shared))
    load = Load(shared.port, clients=6, pause=0.01, pages=("/count?id={ident}", "/slow?seconds=0.1"))
    with load if row.visited else nullcontext():
        if row.visited:
            load.wait_for(12)
        try:
            write_code(shared, "killed", fault=row.fault)
            assert operate_and_kill(shared, row)
        finally:
            write_code(shared, "whole")
        shared.ok("start")
        back = time.time()
        if row.visited:
            load.wait_for(12)
    assert_complete(shared)
    assert len(recorded(shared)) in {size, size + int(row.what.get("size", 0))}
    counts = {ident: count for ident, count in stored(shared).items() if ident not in before}
    assert beyond(victim.losses, load.outcome.failures, back) == []
    assert load.outcome.stored <= set(counts), "what was answered well is stored"
    assert set(counts.values()) <= {1}
    shared.ok("deploy", SERVERS)
    shared.ok("attach", "servers")
    if row.fault:  # a server may still run that code, and its release bear the next ones
        shared.ok("restart", "servers")


def recorded(site: Site) -> set[int]:
    record = json.loads((site.home / "etc" / "zope" / "pool.json").read_text())
    return {int(number) for number in record["servers"]}


def assert_complete(site: Site) -> None:
    """As many of each as was asked for, nothing doubled, no orphan; the predecessors leave in a moment."""
    wait_until(lambda: all_up(site), "all servers are up, their predecessors gone")
    state = status(site)
    servers = {each["number"]: each["pid"] for each in state["servers"]}
    assert set(servers) == recorded(site)
    releases = {each["release"] for each in state["servers"]}

    def nothing_else() -> bool:
        found = site.processes()
        return (
            {each.pid for each in found if re.fullmatch(r"zope\d+", each.name())} == set(servers.values())
            and set(zygotes(site)) <= releases  # one that was killed is loaded again when it is needed
            and sum("nginx: master" in each.command for each in found) == 1
            and sum("storage.conf" in each.command for each in found) == 1
            and sum("zenwebserver.supervisor" in each.command for each in found) == 1
        )

    wait_until(nothing_else, f"nothing doubled, no orphan: {[each.command for each in site.processes()]}")
    assert site.get("/who").status == 200
