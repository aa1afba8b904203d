"""run: Zope alone, in the foreground, on the load balancer's port."""

from __future__ import annotations

import os
import signal
import socket

from harness import Site, wait_until
from terminal import CONTROL_C, Terminal


def test_it_serves_on_the_load_balancers_port_alone_until_control_c(site: Site) -> None:
    site.use("debugger")
    with Terminal(site, "run") as terminal:
        terminal.expect(rf"http://127\.0\.0\.1:{site.port}/")
        terminal.expect("Accepting connections")
        assert site.get("/mode").text.endswith("debug=False")
        assert not (site.home / "var" / "nginx.pid").exists()
        assert site.run("status").code == 1
        terminal.type(CONTROL_C)
        assert terminal.exit_code() == 0
        assert "Traceback" not in terminal.text
    wait_until(lambda: not site.processes(), "nothing runs in the home")
    assert not list(site.home.glob("etc/zope/zope*.conf"))
    assert not list(site.home.glob("var/zope*"))


def test_what_was_stored_by_it_is_there_in_the_pool_though_it_was_killed(site: Site) -> None:
    site.use("store")
    with Terminal(site, "run") as terminal:
        terminal.expect("Accepting connections")
        site.post("/store", "id=one")
        terminal.command().send_signal(signal.SIGKILL)
        wait_until(lambda: not site.processes(), "nothing runs in the home")
    site.ok("start")
    assert site.get("/count?id=one").text == "1"


def test_the_running_pool_has_its_port(shared: Site) -> None:
    before = shared.ok("status", "-v").out
    ran = shared.run("run")
    assert ran.code == 1
    assert f"Port {shared.port} is taken by nginx (pid {shared.pid('nginx')})" in ran.err
    assert shared.ok("status", "-v").out == before


def test_a_port_that_another_program_has_is_told_with_its_name(site: Site) -> None:
    with socket.create_server(("127.0.0.1", site.port)):
        ran = site.run("run")
    assert ran.code == 1
    assert f"Port {site.port} is taken by " in ran.err
    assert f"(pid {os.getpid()})" in ran.err
    wait_until(lambda: not site.processes(), "nothing runs in the home")


def test_a_site_that_does_not_boot_shows_its_traceback_and_leaves_nothing(site: Site) -> None:
    zcml = site.home / "etc" / "site.zcml"
    zcml.write_text(zcml.read_text().replace("</configure>", '<include package="no.such.package" /></configure>'))
    ran = site.run("run")
    assert ran.code == 1
    assert "no.such.package" in ran.err or "No module named 'no" in ran.err
    wait_until(lambda: not site.processes(), "nothing runs in the home")
    assert not list(site.home.glob("var/zope*"))
