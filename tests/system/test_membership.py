"""attach and detach: which servers visitors reach."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from changes import ask_for_no_servers
from harness import WAIT_SECONDS, Site, wait_until
from slow import SlowPage


def visited(site: Site) -> set[int]:
    """The processes that answer visitors."""
    return {int(site.get("/who").text.split()[0]) for _ in range(12)}


def direct(site: Site, number: int) -> int:
    return int(site.get("/who", port=site.server_port(number)).text.split()[0])


def test_a_detached_server_is_reached_by_its_direct_port_alone(shared: Site) -> None:
    one, two = shared.pid("zope1"), shared.pid("zope2")
    assert visited(shared) == {one, two}
    ran = shared.ok("detach", "server2")
    assert ran.out == f"{'Detaching Server 2':<50}[OK]\nDetached\n"
    assert visited(shared) == {one}
    assert direct(shared, 2) == two
    again = shared.ok("detach", "2")
    assert "Server 2 is detached already\n" in again.out
    assert visited(shared) == {one}

    ran = shared.ok("attach", "2")
    assert ran.out == f"{'Attaching Server 2':<50}[OK]\nAttached\n"
    assert visited(shared) == {one, two}
    again = shared.ok("attach", "2")
    assert "Server 2 is attached already\n" in again.out
    assert (shared.pid("zope1"), shared.pid("zope2")) == (one, two)


def test_detached_stays_detached_over_restarts(shared: Site) -> None:
    shared.ok("detach", "1")
    try:
        for commands in (["restart"], ["restart server1"], ["stop 1", "start 1"], ["stop", "start"], ["reload"]):
            for command in commands:
                shared.ok(*command.split())
            assert visited(shared) == {shared.pid("zope2")}, commands
            assert direct(shared, 1) == shared.pid("zope1")
        assert "* Detached from server pool" in shared.ok("status", "-v", "1").out
    finally:
        shared.ok("attach", "1")
    assert visited(shared) == {shared.pid("zope1"), shared.pid("zope2")}


def test_the_last_one_is_detached_by_force_alone_and_visitors_get_the_page(shared: Site) -> None:
    try:
        for targets in (["servers"], ["1", "2"]):
            ran = shared.run("detach", *targets)
            assert (ran.code, ran.out) == (1, "")
            assert "the pool would be empty" in ran.err
            assert "--force" in ran.err
        shared.ok("detach", "1")
        assert shared.run("detach", "2").code == 1
        assert visited(shared) == {shared.pid("zope2")}

        shared.ok("detach", "--force", "2")
        answer = shared.get("/who")
        assert answer.status in (502, 503)
        assert answer.body == (shared.home / "html" / "zenwebserver_50x.html").read_bytes()
        assert answer.headers["Cache-Control"] == "no-store"
        assert direct(shared, 1) == shared.pid("zope1")
        assert shared.ok("detach", "servers").out.count("is detached already") == 2
    finally:
        shared.ok("attach", "servers")
    assert visited(shared) == {shared.pid("zope1"), shared.pid("zope2")}


def test_where_nothing_runs_it_is_recorded_and_said(site: Site) -> None:
    site.use("store").ok("start")
    site.ok("stop")
    ran = site.ok("detach", "2")
    assert "the load balancer is not running, so it holds from its next start" in ran.out
    site.ok("start")
    assert visited(site) == {site.pid("zope1")}
    site.ok("stop")
    site.ok("attach", "2")
    site.ok("start")
    assert visited(site) == {site.pid("zope1"), site.pid("zope2")}


@contextmanager
def broken_include(site: Site) -> Iterator[None]:
    include = site.home / "etc" / "nginx-custom-server-broken.conf"
    include.write_text("frobnicate on;\n")
    try:
        yield
    finally:
        include.unlink()


def standing(site: Site) -> tuple[object, ...]:
    """The record, nginx's file, the processes, and what `status` says of them."""
    etc = site.home / "etc"
    files = [(etc / name).read_text() for name in ("zope/pool.json", "nginx-zope.conf")]
    return (*files, site.run("status", "-v").out, site.run("status").out, visited(site))


def test_what_nginx_refuses_changes_neither_the_record_nor_nginx_nor_the_servers(site: Site) -> None:
    """And each command that fails says what it has left; where nginx asks for its servers, it refuses nothing."""
    ask_for_no_servers(site)
    site.use("store").ok("start")
    site.ok("deploy", "4")
    site.ok("detach", "3")
    site.ok("stop", "4")
    before = standing(site)
    was = "The pool is as it was."
    said = {
        "detach 1": "Nothing was changed.",
        "attach 3": "Nothing was changed.",
        "deploy +1": was,
        "deploy 1": was,
        "start 4": f"Stopped again: Server 4. {was}",
        "start": f"Stopped again: Server 4. {was}",
        "stop 1": "Nothing was changed.",
        "restart": "Nothing was changed.",
    }
    with broken_include(site):
        for command, hint in said.items():
            ran = site.run(*command.split())
            assert ran.code == 1, command
            assert 'unknown directive "frobnicate"' in ran.err
            assert ran.err.endswith(f"{hint}\n"), (command, ran)
            assert standing(site) == before, command
        site.kill("supervisor")
        assert site.run("detach", "1").code == 1
        assert standing(site) == before
    for command in ("start 4", "detach 1", "attach 3", "deploy +1", "deploy 1", "restart"):
        site.ok(*command.split())
    assert site.ok("status").out == f"program running; pid={site.pid('nginx')}\n"


def test_a_stop_that_an_upgrade_cuts_off_while_nginx_finishes_leaves_the_server_to_visitors(site: Site) -> None:
    """Where nginx asks for its servers, the server itself finishes, and goes on to do so."""
    ask_for_no_servers(site)
    site.use("store").ok("start")
    both = {site.pid("zope1"), site.pid("zope2")}
    site.ok("detach", "1")
    page = SlowPage(site, 60)  # server 2 works on it
    try:
        site.ok("attach", "1")
        stop = site.popen("stop", "2", stderr=subprocess.PIPE)
        wait_until(lambda: visited(site) == {site.pid("zope1")}, "nginx sends it nothing any more")
        site.ok("upgrade")
        said = stop.communicate(timeout=WAIT_SECONDS)[1]
        assert stop.returncode == 1
        assert "stop was cut off: the supervisor ends" in said
        wait_until(lambda: visited(site) == both, "it serves visitors again")
        assert site.ok("status").out == f"program running; pid={site.pid('nginx')}\n"
    finally:
        page.end()
    assert page.answer().status == 200
