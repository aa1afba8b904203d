"""Whatever is killed at whatever step: one `start` later everything that was asked for is there, and once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import psutil
import pytest
from harness import Site, wait_until
from load import Load
from seen import stored
from warm import all_up, described, running_site, status, zygotes

from zenwebserver.client import Client
from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with running_site(2, threads=2, drainTimeout=20) as site:
        yield site


def newest_zygote(site: Site) -> psutil.Process:
    found = zygotes(site)
    return found[max(found, key=int)]


def nginx_worker(site: Site) -> psutil.Process:
    master = psutil.Process(site.pid("nginx"))
    return next(child for child in master.children() if "worker process" in " ".join(child.cmdline()))


def named(name: str) -> Callable[[Site], psutil.Process]:
    return lambda site: psutil.Process(site.pid(name))


VICTIMS: dict[str, Callable[[Site], psutil.Process]] = {
    "supervisor": named("supervisor"),
    "zygote": newest_zygote,
    "server": named("zope1"),
    "storage": named("storage"),
    "nginx": named("nginx"),
    "nginx worker": nginx_worker,
}

# (operation, what it is told, the step that has just begun, who is killed): each step and each victim, several times.
RESTART: dict[str, object] = {}
UP: dict[str, object] = {"size": "+1"}
DOWN: dict[str, object] = {"size": "-1"}
KILLS = [
    ("restart", RESTART, "Restarting Load balancer", "nginx"),
    ("restart", RESTART, "Restarting Load balancer", "supervisor"),
    ("restart", RESTART, "Loading the site", "zygote"),
    ("restart", RESTART, "Loading the site", "supervisor"),
    ("restart", RESTART, "Loading the site", "storage"),
    ("restart", RESTART, "Restarting Server 1", "zygote"),
    ("restart", RESTART, "Restarting Server 1", "server"),
    ("restart", RESTART, "Restarting Server 1", "supervisor"),
    ("restart", RESTART, "Restarting Server 2", "server"),
    ("restart", RESTART, "Restarting Server 2", "supervisor"),
    ("restart", RESTART, "Restarting Server 2", "nginx worker"),
    ("deploy", UP, "Deploying Server", "supervisor"),
    ("deploy", DOWN, "Taking them out of the pool", "supervisor"),
    ("deploy", UP, "Deploying Server", "zygote"),
    ("deploy", DOWN, "Taking them out of the pool", "nginx"),
    ("deploy", UP, "Deploying Server", "storage"),
    ("deploy", DOWN, "Removing Server", "supervisor"),
    ("deploy", UP, "Deploying Server", "server"),
    ("deploy", DOWN, "Removing Server", "nginx worker"),
]


def operate_and_kill(site: Site, operation: str, what: dict[str, object], step: str, victim: str) -> bool:
    """Whether the step came; the operation's own end does not matter."""
    killed = False
    try:
        for event in Client(Home.at(site.home)).operate(operation, **what):
            if event.get("begin", "").startswith(step) and not killed:
                VICTIMS[victim](site).kill()
                killed = True
    except ZenwebserverError:
        assert victim == "supervisor"
    return killed


@pytest.mark.parametrize(("operation", "what", "step", "victim"), KILLS)
def test_after_a_kill_one_start_gives_what_was_asked_for(
    site: Site, operation: str, what: dict[str, object], step: str, victim: str
) -> None:
    size, before = len(recorded(site)), set(stored(site))
    with Load(site.port, clients=2, pause=0.02) as load:
        load.wait_for(4)
        assert operate_and_kill(site, operation, what, step, victim)
        site.ok("start")
        load.wait_for(4)
    assert_complete(site)
    assert len(recorded(site)) in {size, size + int(str(what.get("size", 0)))}
    if len(recorded(site)) != size + int(str(what.get("size", 0))):
        site.ok("deploy", size + int(str(what["size"])))  # for the next row
    counts = {ident: count for ident, count in stored(site).items() if ident not in before}
    assert load.outcome.stored <= set(counts), "what was answered well is stored"
    if victim != "storage":  # Zope itself repeats a request whose commit it lost sight of
        assert set(counts.values()) <= {1}
    if victim == "supervisor":
        assert load.outcome.failures == []
    # A retried request may be refused where its only process was killed; what was answered well is stored.
    assert len(load.outcome.failures) < load.outcome.answered


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
        found = list(described(site))
        commands = [command for _, _, command in found]
        return (
            {each.pid for each, name, _ in found if re.fullmatch(r"zope\d+", name)} == set(servers.values())
            and set(zygotes(site)) <= releases  # one that was killed is loaded again when it is needed
            and sum("nginx: master" in command for command in commands) == 1
            and sum("storage.conf" in command for command in commands) == 1
            and sum("zenwebserver.supervisor" in command for command in commands) == 1
        )

    wait_until(nothing_else, f"nothing doubled, no orphan: {site.processes()}")
    assert stored(site)
