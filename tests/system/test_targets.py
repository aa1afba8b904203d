"""Targets in every form, and those that are none; each command twice in a row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from harness import Ran, Site, wait_until

VALID = "Valid targets: loadbalancer, storage, servers, server1, server2"


@contextmanager
def put_right(site: Site) -> Iterator[None]:
    try:
        yield
    finally:
        site.ok("start")


def up(site: Site) -> set[str]:
    """The parts that run, as `status -v` names them."""
    lines = site.run("status", "-v").out.splitlines()
    return {line.partition(" status")[0] for line in lines if line.endswith("[UP]")}


ALL = {"Server 1", "Server 2", "Load balancer", "Storage"}


@pytest.mark.parametrize(
    ("targets", "stopped"),
    [
        (["2"], {"Server 2"}),
        (["1", "server2"], {"Server 1", "Server 2"}),
        (["servers"], {"Server 1", "Server 2"}),
        (["nginx"], {"Load balancer"}),
        (["loadbalancer", "1"], {"Load balancer", "Server 1"}),
        (["storage"], {"Storage"}),
    ],
    ids=lambda value: " ".join(sorted(value)),
)
def test_only_what_is_named_is_stopped_and_started_again(shared: Site, targets: list[str], stopped: set[str]) -> None:
    with put_right(shared):
        assert shared.ok("stop", *targets).out == "Stopped\n"
        assert up(shared) == ALL - stopped
        again = shared.ok("stop", *targets).out
        assert again.count("is stopped already") == len(stopped)
        assert up(shared) == ALL - stopped
        assert shared.ok("start", *targets).out.startswith("Started")
        assert up(shared) == ALL
        again = shared.ok("start", *targets).out
        assert again.count("runs already") == len(stopped) + 1
        assert again.splitlines()[-1] == f"It runs already: http://127.0.0.1:{shared.port}/"


@pytest.mark.parametrize("target", ["server2", "servers", "nginx", "storage"])
def test_only_what_is_named_is_restarted(shared: Site, target: str) -> None:
    names = ["zope1", "zope2", "nginx", "storage"]
    before = {name: shared.pid(name) for name in names}
    shared.ok("restart", target)
    changed = {name for name in names if shared.pid(name) != before[name]}
    servers = {"server2": {"zope2"}, "servers": {"zope1", "zope2"}}
    assert changed == servers.get(target, {target})
    assert up(shared) == ALL


@pytest.mark.parametrize("command", ["start", "stop", "restart", "status"])
def test_a_wrong_target_is_refused_and_nothing_is_done(shared: Site, command: str) -> None:
    before = shared.ok("status", "-v").out
    refused(shared.run(command, "server3"), "Server 3 is not deployed", VALID)
    refused(shared.run(command, "1", "7"), "Server 7 is not deployed", VALID)
    refused(shared.run(command, "0"), "Server 0 is not deployed", VALID)
    refused(shared.run(command, "nginx", "apache"), "Unknown target: apache", VALID)
    refused(shared.run(command, "Server1"), "Unknown target: Server1", VALID)
    refused(shared.run(command, ""), "Unknown target: ", VALID)
    assert shared.ok("status", "-v").out == before


@pytest.mark.parametrize("command", ["attach", "detach"])
def test_only_servers_are_attached_and_detached(shared: Site, command: str) -> None:
    valid = "Valid targets: servers, server1, server2"
    refused(shared.run(command, "nginx"), "Unknown target: nginx", valid)
    refused(shared.run(command, "1", "9"), "Server 9 is not deployed", valid)
    refused(shared.run(command), "Which servers?", "server1 server2")


def test_a_wrong_target_is_refused_where_nothing_runs(site: Site) -> None:
    for command in ("stop", "status"):
        ran = site.run(command, "server1")
        assert (ran.code, ran.out) == (2, "")
        assert "Server 1 is not deployed" in ran.err
    wait_until(lambda: not site.processes(), "the command's supervisor has ended, and nothing else runs")


def refused(ran: Ran, wrong: str, valid: str) -> None:
    assert (ran.code, ran.out) == (2, "")
    assert f"zenwebserver: {wrong}\n" in ran.err
    assert valid in ran.err
