"""The next supervisor forks, exchanges and watches what an earlier one started, as if nothing had been."""

from __future__ import annotations

import time

import pytest
from harness import Site, wait_until
from load import Load
from losses import IN_THE_SERVER, beyond
from seen import pids
from warm import (
    assert_all_stored_once,
    configure,
    is_back,
    server_pids,
    status,
    version,
    versions,
    write_code,
    zygotes,
)

PARTS = ("zope1", "zope2", "storage", "nginx")


SITE = "warm"


@pytest.fixture
def site(shared: Site) -> Site:
    return shared


def test_after_a_killed_supervisor_the_next_one_can_do_everything(site: Site) -> None:
    before, zygotes_before = pids(site, *PARTS), zygotes(site)
    first = versions(site)
    with Load(site.port, clients=4, pause=0.01) as load:
        load.wait_for(20)
        site.kill("supervisor")
        load.wait_for(20)
        write_code(site, "adopted")
        site.ok("start")
        assert pids(site, *PARTS) == before
        assert zygotes(site) == zygotes_before
        assert status(site)["releases"] == [{"name": name, "zygote": each.pid} for name, each in zygotes_before.items()]
        load.wait_for(20)
        assert load.outcome.failures == []
    # It watches, and forks from the release that was adopted.
    killed = site.kill("zope1")
    wait_until(lambda: is_back(site, 1, killed), "server 1 is back")
    assert versions(site) == first
    assert zygotes(site) == zygotes_before, "the adopted zygote has forked it"
    with Load(site.port, clients=4, pause=0.01) as load:
        # It hands over.
        site.ok("restart", "servers")
        assert versions(site) == {1: "adopted", 2: "adopted"}
        wait_until(lambda: len(zygotes(site)) == 1, "the adopted release has ended")
        load.wait_for(20)
    assert load.outcome.failures == []
    assert_all_stored_once(site, load.outcome.stored)


def test_two_releases_are_adopted_each_with_its_servers(site: Site) -> None:
    first = version(site, 1)
    write_code(site, "tried")
    site.ok("restart", "2")
    before, two = server_pids(site), zygotes(site)
    assert len(two) == 2
    site.kill("supervisor")
    site.ok("start")
    assert server_pids(site) == before
    assert zygotes(site) == two
    for number, its_version in ((1, first), (2, "tried")):
        killed = site.kill(f"zope{number}")
        wait_until(lambda number=number, killed=killed: is_back(site, number, killed), "it is back")
        assert version(site, number) == its_version
    site.ok("restart", "1")
    assert versions(site) == {1: "tried", 2: "tried"}


def test_upgrade_exchanges_the_supervisor_and_nothing_else(site: Site) -> None:
    before, supervisor = pids(site, *PARTS), site.pid("supervisor")
    with Load(site.port, clients=4, pause=0.01) as load:
        load.wait_for(20)
        assert "Upgraded" in site.ok("upgrade").out
        load.wait_for(20)
        assert site.pid("supervisor") != supervisor
        assert pids(site, *PARTS) == before
        assert site.ok("status", "-v").out.count("[UP]") == 4
        site.ok("restart", "servers")
        load.wait_for(20)
    assert load.outcome.failures == []
    assert_all_stored_once(site, load.outcome.stored)


def test_a_killed_server_costs_at_most_what_it_was_working_on(site: Site) -> None:
    configure(site, threads=2)
    site.ok("restart", "servers")
    with Load(site.port, clients=16, pause=0.01) as load:
        load.wait_for(100)
        killed = site.kill("zope1")
        wait_until(lambda: is_back(site, 1, killed), "server 1 is back")
        load.wait_for(100)
        settled = list(load.outcome.failures)
        load.wait_for(100)
    assert load.outcome.failures == settled, "none fails after it is back"
    assert beyond(IN_THE_SERVER, settled, time.time()) == [], (
        "of each client at most what it had, and no GET unanswered"
    )
    assert_all_stored_once(site, load.outcome.stored)
    # Warm, it was there again before its port had to be closed: no pause, nothing given up.
    died = site.log().rindex("Server 1, pid")
    after = site.log()[died:]
    assert after.index("was killed by SIGKILL") < after.index("Server 1 serves: pid") < after.index("Server 1 is back")
    assert "did not come back" not in after
