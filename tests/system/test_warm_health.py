"""Servers that hang or have grown old are replaced, and an admin can see what they were doing."""

from __future__ import annotations

import http.client
import re
import signal
import threading
from collections.abc import Iterator

import psutil
import pytest
from harness import Site, wait_until
from load import Load
from warm import assert_all_stored_once, configure, is_back, running_site, server, server_pids

THREADS = 2


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with running_site(2, threads=THREADS) as site:
        yield site


def occupy(site: Site, number: int, seconds: float) -> list[threading.Thread]:
    """Give every thread of a server a request of `seconds`."""

    def ask() -> None:
        with_errors = (OSError, http.client.HTTPException)
        try:
            site.get(f"/slow?seconds={seconds}", port=site.server_port(number))
        except with_errors:
            return  # it was killed in the middle

    threads = [threading.Thread(target=ask) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    return threads


def reload_settings(site: Site, **settings: object) -> None:
    configure(site, **settings)
    site.ok("start")


def test_threads_shows_what_each_thread_does(site: Site) -> None:
    waiting = occupy(site, 1, 3)
    shown = ""

    def all_busy() -> bool:
        nonlocal shown
        shown = site.ok("threads", "server1").out
        return shown.count("GET /slow, for ") == THREADS

    wait_until(all_busy, "all threads are busy")
    assert re.search(r"waitress-0: GET /slow, for \d+\.\d s\n", shown)
    assert "zwstest.py" in shown
    assert "time.sleep(seconds)" in shown
    refused = site.run("threads", "9")
    assert refused.code == 2
    assert "Server 9 is not deployed" in refused.err
    for each in waiting:
        each.join()


def test_a_hung_server_is_replaced_and_its_stacks_are_logged(site: Site) -> None:
    reload_settings(site, hungTimeout=2, drainTimeout=3)
    before = server_pids(site)
    waiting = occupy(site, 1, 30)
    with Load(site.port, clients=4, pause=0.01) as load:
        wait_until(lambda: is_back(site, 1, before[1]), "server 1 is replaced")
        wait_until(lambda: not server(site, 1)["leaving"], "what hung has gone after the drain timeout")
        queued = list(load.outcome.failures)  # what waited behind the hung requests is cut off with them
        load.wait_for(50)
    assert load.outcome.failures == queued
    assert len(queued) <= 4
    assert all(" 502 " in failure for failure in queued)
    assert_all_stored_once(site, load.outcome.stored)
    assert server_pids(site)[2] == before[2]
    assert f"Server 1, pid {before[1]}, is replaced: all its threads have been busy for" in site.log()
    assert "zwstest.py" in site.log("zope1")
    assert "in __call__" in site.log("zope1")
    assert "Cut off after the drain timeout: GET /slow" in site.log("zope1")
    for each in waiting:
        each.join()
    reload_settings(site, hungTimeout=0, drainTimeout=600)


def test_a_server_that_was_stopped_in_its_tracks_is_replaced(site: Site) -> None:
    stopped = psutil.Process(site.pid("zope2"))
    stopped.send_signal(signal.SIGSTOP)
    wait_until(lambda: is_back(site, 2, stopped.pid), "server 2 is replaced", seconds=60)
    assert not stopped.is_running() or stopped.status() == psutil.STATUS_ZOMBIE
    assert f"Server 2, pid {stopped.pid}, is replaced: it has not reported for" in site.log()
    assert site.get("/who", port=site.server_port(2)).status == 200


def test_a_server_is_replaced_after_so_many_requests_without_a_failed_one(site: Site) -> None:
    before = server_pids(site)
    with Load(site.port, clients=4, pause=0.01) as load:
        reload_settings(site, maxRequests=200)
        wait_until(lambda: not set(server_pids(site).values()) & set(before.values()), "both are replaced")
        reload_settings(site, maxRequests=0)
        load.wait_for(20)
    assert load.outcome.failures == []
    assert_all_stored_once(site, load.outcome.stored)
    assert re.search(rf"Server 1, pid {before[1]}, is replaced: it has answered \d+ requests", site.log())


def test_a_server_that_has_grown_is_replaced(site: Site) -> None:
    before = server_pids(site)
    with Load(site.port, clients=2, pause=0.02) as load:
        reload_settings(site, maxMemory="150m")
        site.get("/grow?megabytes=150", port=site.server_port(2))
        wait_until(lambda: is_back(site, 2, before[2]), "server 2 is replaced")
        reload_settings(site, maxMemory=0)
        load.wait_for(20)
    assert load.outcome.failures == []
    assert server_pids(site)[1] == before[1]
    assert re.search(rf"Server 2, pid {before[2]}, is replaced: it has \d+ MB of memory", site.log())
