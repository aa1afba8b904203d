"""A port that somebody has: said by whom, and nothing is half-started."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from harness import Site, wait_until


@contextmanager
def taken(port: int) -> Iterator[None]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        yield


def test_a_busy_port_of_the_load_balancer_is_told_before_anything_starts(site: Site) -> None:
    with taken(site.port):
        failed = site.run("start")
        assert failed.code == 1
        assert f"Port {site.port} is taken by" in failed.err
        assert f"(pid {os.getpid()})" in failed.err
        wait_until(lambda: not site.processes(), "nothing runs")
        assert site.run("status").out == "not running\n"
    site.ok("start")
    assert site.get("/").status == 200


def test_a_busy_port_of_a_server_keeps_that_server_alone_from_starting(site: Site) -> None:
    with taken(site.server_port(2)):
        failed = site.run("start")
        assert failed.code == 1
        assert "Server 2 did not come up" in failed.err
        assert f"127.0.0.1:{site.server_port(2)} is taken by" in failed.err
        assert f"(pid {os.getpid()})" in failed.err
        assert "End what has it; or set another serverBasePort" in failed.err
        assert site.get("/").status == 200
        status = site.run("status", "-v").out
        assert "Server 2 status".ljust(50) + "[DOWN]" in status
        assert "Server 1 status".ljust(50) + "[UP]" in status

        failed = site.run("deploy", "+1")  # 3 is free, 2 is still to be started and not
        assert failed.code == 1
        assert "is taken by" in failed.err
    site.ok("start")
    assert "[DOWN]" not in site.ok("status", "-v").out
    site.ok("deploy", "3")
    with taken(site.server_port(4)):
        failed = site.run("deploy", "+1")
        assert failed.code == 1
        assert "Server 4" not in site.ok("status", "-v").out
    site.ok("deploy", "+1")
    assert "Server 4 status".ljust(50) + "[UP]" in site.ok("status", "-v").out
