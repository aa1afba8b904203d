"""A server that dies again and again is taken out of the pool; the others go on."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Callable
from dataclasses import replace

from harness import Site, wait_until
from load import Load
from losses import IN_THE_SERVER, beyond
from product import DIES, Product


def died_too_often(site: Site, number: int) -> bool:
    """Have it die, where it lives."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        site.get("/exit", port=site.server_port(number))
    return f"Server {number} is given up" in site.log()


def test_a_server_with_five_deaths_in_a_minute_leaves_the_pool_and_says_why(running: Site) -> None:
    port = running.server_port(2)
    with Load(running.port, clients=4) as load:
        wait_until(lambda: died_too_often(running, 2), "it is given up")
        wait_until(lambda: "* Failed" in running.run("status", "-v").out, "it is given up")
        wait_until(lambda: f":{port}" not in (running.home / "etc/nginx-zope.conf").read_text(), "it is out")
        given_up = time.time()
        load.wait_for(50)
    assert beyond([replace(loss, each=5) for loss in IN_THE_SERVER], load.outcome.failures, given_up) == [], (
        "it died five times"
    )

    status = running.run("status", "-v").out
    assert "Server 2 status".ljust(50) + "[DOWN]\nNot running, Not listening\n* Failed: 5 deaths in a minute" in status
    assert "exit code 3" in status
    assert "Server 2 is given up: 5 deaths in a minute" in running.log()
    assert running.run("status", "server2").code == running.run("status").code == 1
    assert running.run("status").out.endswith("\n1 of 2 servers\n")

    running.ok("start", "server2")
    assert "Server 2 status".ljust(50) + "[UP]" in running.ok("status", "-v").out
    seen = set()
    wait_until(lambda: seen.add(running.get("/who").text.split()[0]) or len(seen) == 2, "both answer visitors")
    running.kill("zope2")  # what was before does not count any more
    wait_until(lambda: running.run("status", "-v").out.count("[UP]") == 4, "it is back")


def test_a_server_that_cannot_boot_any_more_is_given_up_and_started_again_after_the_fix(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(preload="off").init().use("store")
    product = Product(site)
    site.ok("start")
    product.code.write_text(DIES)
    site.kill("zope1")
    wait_until(lambda: "* Failed" in site.run("status", "-v").out, "it is given up")
    assert "exit code 3" in site.run("status", "-v").out
    assert "the product gives up" in site.log()
    assert all(site.get("/who").status == 200 for _ in range(20))
    failed = site.run("start", "server1")
    assert failed.code == 1
    assert "the product gives up" in failed.err
    assert all(site.get("/who").status == 200 for _ in range(5))
    product.mend()
    site.ok("start", "server1")
    assert site.ok("status", "-v").out.count("[UP]") == 4
