"""deploy: how many servers exist."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from harness import Site, wait_until
from terminal import Terminal

SETTINGS = {"maxServers": 2}


def numbers(site: Site) -> list[int]:
    """The servers that exist, by the files that an admin finds."""
    return sorted(int(path.stem.removeprefix("zope")) for path in site.home.glob("etc/zope/zope[0-9]*.conf"))


def listed(site: Site) -> list[int]:
    """The servers that visitors are sent to."""
    text = (site.home / "etc" / "nginx-zope.conf").read_text()
    return [number for number in range(1, 40) if f"server 127.0.0.1:{site.server_port(number)} " in text]


def left_of(site: Site, number: int) -> list[Path]:
    """What there is of a server that is no more."""
    folder = site.home / "var"
    return [path for path in (folder / f"zope{number}", folder / "run" / f"zope{number}.pid") if path.exists()]


def test_exactly_n_or_more_or_fewer_and_a_second_time_changes_nothing(shared: Site) -> None:
    nginx = shared.pid("nginx")
    first = shared.pid("zope1")
    ran = shared.ok("deploy", "3", "--yes")
    assert f"{'Deploying Server 3':<50}[OK]\n" in ran.out
    assert shared.get("/who", port=shared.server_port(3)).status == 200
    assert shared.ok("deploy", "3").out == "3 servers deployed\n"
    shared.ok("deploy", "+1", "--yes")
    assert numbers(shared) == listed(shared) == [1, 2, 3, 4]
    ran = shared.ok("deploy", "-2")
    removed = [line for line in ran.out.splitlines() if line.startswith("Removing")]
    assert removed == [f"{'Removing Server 4':<50}[OK]", f"{'Removing Server 3':<50}[OK]"]
    assert numbers(shared) == listed(shared) == [1, 2]
    wait_until(lambda: not left_of(shared, 3), "it has left")
    assert (shared.pid("nginx"), shared.pid("zope1")) == (nginx, first)


def test_never_fewer_than_one(shared: Site) -> None:
    try:
        shared.ok("deploy", "-9")
        assert numbers(shared) == listed(shared) == [1]
        assert shared.ok("deploy", "-1").out == "1 server deployed\n"
        assert shared.get("/who").status == 200
        ran = shared.run("deploy", "0")
        assert (ran.code, ran.out) == (2, "")
        assert "A pool has at least 1 server" in ran.err
    finally:
        shared.ok("deploy", "2")


@pytest.mark.parametrize("size", ["", "two", "+", "-x", "1.5", "--3", "²"])
def test_what_is_no_number_is_refused(shared: Site, size: str) -> None:
    ran = shared.run("deploy", size)
    assert (ran.code, ran.out) == (2, "")
    assert "deploy takes n, +n or -n" in ran.err or "No such option" in ran.err
    assert numbers(shared) == [1, 2]


def test_more_than_max_servers_need_consent(shared: Site) -> None:
    before = shared.ok("status", "-v").out
    for size in ("3", "+1"):
        ran = shared.run("deploy", size)
        assert (ran.code, ran.out) == (2, "")
        assert "3 servers are more than maxServers (2)" in ran.err
        assert "--yes" in ran.err
    assert shared.ok("status", "-v").out == before


def test_on_a_terminal_it_asks(shared: Site) -> None:
    with Terminal(shared, "deploy", "3") as terminal:
        terminal.expect(r"3 servers are more than maxServers \(2\)\. Go on\? \[y/N\]")
        terminal.type("n\n")
        assert terminal.exit_code() == 2
    assert numbers(shared) == [1, 2]
    with Terminal(shared, "deploy", "3") as terminal:
        terminal.expect(r"Go on\?")
        terminal.type("y\n")
        terminal.expect("3 servers deployed")
        assert terminal.exit_code() == 0
    assert numbers(shared) == listed(shared) == [1, 2, 3]
    assert shared.ok("deploy", "3").out == "3 servers deployed\n"
    try:
        shared.ok("deploy", "+1", "--yes")
        assert numbers(shared) == listed(shared) == [1, 2, 3, 4]
    finally:
        shared.ok("deploy", "2")
    assert numbers(shared) == [1, 2]


def test_new_servers_take_the_lowest_free_numbers_and_the_highest_go_first(site: Site) -> None:
    record = site.home / "etc" / "zope" / "pool.json"
    record.parent.mkdir(exist_ok=True)
    record.write_text(json.dumps({"servers": {"1": {"attached": True}, "3": {"attached": True}}}))
    site.ok("start")
    assert numbers(site) == listed(site) == [1, 3]
    site.ok("deploy", "+1")
    assert numbers(site) == listed(site) == [1, 2, 3]
    site.ok("deploy", "-1")
    assert numbers(site) == listed(site) == [1, 2]


def test_where_nothing_runs_the_servers_are_started_and_the_rest_is_said(site: Site) -> None:
    ran = site.ok("deploy", "1")
    assert "The load balancer is not running: zenwebserver start\n" in ran.out
    assert site.get("/", port=site.server_port(1)).status == 200
    site.ok("start")
    assert site.get("/").status == 200
    assert numbers(site) == [1]


def test_a_server_whose_port_is_taken_is_not_deployed(shared: Site) -> None:
    before = shared.ok("status", "-v").out
    port = shared.server_port(3)
    with socket.create_server(("127.0.0.1", port)):
        ran = shared.run("deploy", "+1", "--yes")
    assert ran.code == 1
    assert f"{'Deploying Server 3':<50}[FAIL]\n" in ran.out
    assert f"Server 3 did not come up: Port 127.0.0.1:{port} is taken by " in ran.err
    assert f"(pid {os.getpid()})" in ran.err
    assert shared.ok("status", "-v").out == before
    assert numbers(shared) == listed(shared) == [1, 2]
    wait_until(lambda: not left_of(shared, 3), "nothing is left of it")
