"""A home that was moved or copied is the home where it stands now, and no other one's."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from harness import Site, wait_until
from warm import configure, server_pids


@contextmanager
def at(site: Site, home: Path) -> Iterator[Site]:
    """The same site, whose home is at another path meanwhile."""
    former, site.home = site.home, home
    site.environment["ZENHOME"] = str(home)
    try:
        yield site
    finally:
        site.home = former
        site.environment["ZENHOME"] = str(former)


def say(home: Path, path: Path) -> list[str]:
    """The files of the home, but for logs and former ones, that hold the path."""
    holds = re.compile(re.escape(str(path).encode()) + rb"(?![\w-])")
    kept = (each for each in home.rglob("*") if each.is_file() and each.suffix not in (".log", ".prev", ".pyc"))
    return [str(each.relative_to(home)) for each in kept if holds.search(each.read_bytes())]


@pytest.fixture
def other(make_site: Callable[..., Site]) -> Site:
    """A place, and ports, for a second site. Nothing is there."""
    return make_site()


def test_a_home_that_was_moved_while_it_was_stopped_goes_on_where_it_stands(site: Site, other: Site) -> None:
    assert say(site.home, site.home) == []
    site.use("store").ok("start")
    site.post("/store", "id=one")
    site.ok("stop")
    wait_until(lambda: not site.processes(), "nothing runs")
    former = site.home
    for place in (other.home / "a home", other.home.with_name(f"{other.home.name}-b")):
        place.parent.mkdir(exist_ok=True)
        former.rename(place)
        with at(site, place):
            site.ok("start")
            assert site.get("/count?id=one").text == "1"
            assert (place / "etc" / "nginx.conf.prev").exists()
            assert say(place, former) == []
            site.ok("restart")
            site.ok("verify")
            site.ok("stop")
        assert not former.exists(), "nothing was made at the former place"
        former = place
    former.rename(site.home)


def test_a_home_that_was_moved_while_it_ran_without_its_supervisor_leaves_no_nginx_behind(
    running: Site, other: Site
) -> None:
    """That reads its configuration at the former path; so it is ended."""
    former = running.home
    for command in ("stop", "start"):
        running.ok("start")
        nginx = running.pid("nginx")
        running.kill("supervisor")
        former.rename(other.home)
        try:
            with at(running, other.home):
                assert running.run("status").out.startswith(f"program running; pid={nginx}\n")
                running.ok(command)
                wait_until(lambda pid=nginx: not psutil.pid_exists(pid), "the former nginx has ended")
                assert running.answers("/who") == (command == "start")
                running.ok("stop")
                wait_until(lambda: not running.processes(), "nothing runs")
        finally:
            other.home.rename(former)


def test_a_copy_of_a_running_home_is_a_home_of_its_own(running: Site, other: Site) -> None:
    site = running
    site.post("/store", "id=one")
    before = (site.pid("nginx"), site.pid("storage"), site.pid("supervisor"), server_pids(site))
    subprocess.run(["cp", "-a", site.home, other.home], check=True)
    other.user, other.password = site.user, site.password
    other.environment["PYTHONPATH"] = site.environment["PYTHONPATH"]

    assert other.run("status").out == "not running\n"
    assert "[UP]" not in other.run("status", "-v").out
    assert other.ok("stop").out == "It is stopped already\n"
    refused = other.run("start")
    assert refused.code == 1
    assert f"Port {site.port} is taken by nginx (pid {before[0]})" in refused.err

    configure(other, httpPort=other.port, serverBasePort=other.base)
    other.ok("start")
    assert other.get("/count?id=one").text == "1"
    other.post("/store", "id=two")
    assert site.get("/count?id=two").text == "0", "each has its own data"
    assert say(other.home, site.home) == []
    other.ok("restart")
    other.ok("stop")
    wait_until(lambda: not other.processes(), "nothing of the copy runs")
    assert (site.pid("nginx"), site.pid("storage"), site.pid("supervisor"), server_pids(site)) == before
    assert site.get("/count?id=one").text == "1"


def test_a_copy_with_hard_links_has_the_originals_sockets_and_does_not_ask_them(running: Site, other: Site) -> None:
    before = server_pids(running)
    subprocess.run(["cp", "-al", running.home, other.home], check=True)
    assert (other.home / "var" / "run" / "supervisor.sock").samefile(running.home / "var" / "run" / "supervisor.sock")
    assert other.run("status").out == "not running\n"
    assert other.ok("stop").out == "It is stopped already\n"
    assert json.loads(running.ok("status", "--json").out)["home"] == str(running.home)
    assert server_pids(running) == before
    shutil.rmtree(other.home)


def make_absolute(site: Site) -> None:
    """As earlier versions of `init` made it."""
    conf = site.home / "etc" / "zope.conf"
    conf.write_text(conf.read_text().replace("$(ZENHOME)", str(site.home)))


def test_an_earlier_versions_home_works_where_it_is_and_its_copy_is_told_where_it_leads(
    site: Site, other: Site
) -> None:
    make_absolute(site)
    site.ok("start")
    subprocess.run(["cp", "-a", site.home, other.home], check=True)
    configure(other, httpPort=other.port, serverBasePort=other.base)
    conf = other.home / "etc" / "zope.conf"
    line = 1 + conf.read_text()[: conf.read_text().index("%define INSTANCE")].count("\n")
    said = f"zenwebserver: {conf}, line {line}: {site.home} leads into another home, {site.home}\n"
    for command in ("start", "run", "configure"):
        ran = other.run(command)
        assert ran.code == 2
        assert said in ran.err
    meant = other.run("start", "--force")
    assert meant.code == 1
    assert "Storage did not start" in meant.err, "the original has its Data.fs open"
    site.ok("stop")
    assert "Storage did not start" not in other.ok("start").out, "that it is meant was remembered"
    other.ok("stop")
    wait_until(lambda: not site.processes(), "nothing runs")

    former = site.home
    site.home = former.rename(former.with_name(f"{former.name}-b"))
    site.environment["ZENHOME"] = str(site.home)
    ran = site.run("start")
    assert ran.code == 2
    assert f"line {line}: {former} leads to where this home was before" in ran.err
    conf = site.home / "etc" / "zope.conf"
    conf.write_text(conf.read_text().replace(str(former), "$(ZENHOME)"))
    site.ok("start")
    assert site.get("/").status == 200
    assert not former.exists()


def test_a_home_that_is_moved_away_while_it_runs_is_told_of_at_both_places(running: Site, other: Site) -> None:
    site, former = running, running.home
    nginx, supervisor = site.pid("nginx"), site.pid("supervisor")
    moved = former.rename(other.home)
    try:
        ran = site.run("status")
        assert ran.out == f"program running; pid={nginx}\n"
        assert (
            f"{former} was moved to {moved}, and its supervisor, pid {supervisor}, still runs what is in it" in ran.err
        )
        assert f"ZENHOME={moved} zenwebserver stop" in ran.err
        for command in ("start", "stop", "configure"):
            assert f"{former} was moved to {moved}" in site.run(command).err
        with at(site, moved):
            ran = site.run("status")
            assert ran.out == f"program running; pid={nginx}\n"
            assert f"This home was moved here from {former} while it ran" in ran.err
            refused = site.run("start")
            assert refused.code == 1
            assert f"which was moved to {moved} while it ran" in refused.err
            assert "To go on there: zenwebserver stop, then zenwebserver start" in refused.err
            assert json.loads(site.run("status", "--json").out)["storage"]["needed"]
            os.kill(site.pid("zope1"), signal.SIGKILL)
            os.kill(nginx, signal.SIGKILL)
            wait_until(lambda: "Load balancer did not come back" in site.log(), "nginx was to come back")
            wait_until(lambda: "Server 1 did not come back" in site.log(), "so was the server")
            assert f"{former} was moved to {moved}" in site.log()
            assert not former.exists(), "nothing was made at the former place"
            site.ok("stop")
            site.ok("start")
            assert site.get("/").status == 200
            assert site.run("status").err == ""
            site.ok("stop")
        assert not former.exists()
    finally:
        moved.rename(former)
