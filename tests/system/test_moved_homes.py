"""A home that was moved or copied is the home where it stands now, and no other one's."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

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
