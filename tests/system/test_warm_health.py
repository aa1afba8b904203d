"""Servers that hang or have grown old are replaced, and an admin can see what they were doing."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from harness import Site, alive, wait_until
from load import Load
from losses import BOTH, Loss, beyond
from slow import SlowPage
from warm import assert_all_stored_once, configure, is_back, server, server_pids

THREADS = 2
SITE = "warm"
SETTINGS = {"threads": THREADS}
# What waited behind hung requests is cut off with them; nginx looks for another server for 10 s alone.
QUEUED = Loss(BOTH, frozenset({"502"}), 1)


@contextmanager
def occupied(site: Site, number: int) -> Iterator[None]:
    """Every thread of a server works on a page, which it answers in the end, unless it was killed."""
    pages = [SlowPage(site, 600, port=site.server_port(number)) for _ in range(THREADS)]
    try:
        yield
    finally:
        for page in pages:
            page.end()


def reload_settings(site: Site, **settings: object) -> None:
    configure(site, **settings)
    site.ok("start")


def test_threads_shows_what_each_thread_does(shared: Site) -> None:
    with occupied(shared, 1):
        shown = shared.ok("threads", "server1").out
    assert shown.count("GET /slow, for ") == THREADS
    assert re.search(r"waitress-0: GET /slow, for \d+\.\d s\n", shown)
    assert "zwstest.py" in shown
    assert "time.sleep(0.02)" in shown
    refused = shared.run("threads", "9")
    assert refused.code == 2
    assert "Server 9 is not deployed" in refused.err


def test_a_hung_server_is_replaced_and_its_stacks_are_logged(shared: Site) -> None:
    reload_settings(shared, hungTimeout=2, drainTimeout=3)
    before = server_pids(shared)
    with occupied(shared, 1), Load(shared.port, clients=4, pause=0.01) as load:
        wait_until(lambda: is_back(shared, 1, before[1]), "server 1 is replaced")
        wait_until(lambda: not server(shared, 1)["leaving"], "what hung has gone after the drain timeout")
        gone = time.time()
        load.wait_for(50)
    assert beyond([QUEUED], load.outcome.failures, gone) == []
    assert_all_stored_once(shared, load.outcome.stored)
    assert server_pids(shared)[2] == before[2]
    assert f"Server 1, pid {before[1]}, is replaced: all its threads have been busy for" in shared.log()
    assert "zwstest.py" in shared.log("zope1")
    assert "in __call__" in shared.log("zope1")
    assert "Cut off after the drain timeout: GET /slow" in shared.log("zope1")
    reload_settings(shared, hungTimeout=0, drainTimeout=600)


def test_a_server_that_was_stopped_in_its_tracks_is_replaced(shared: Site) -> None:
    stopped = psutil.Process(shared.pid("zope2"))
    stopped.send_signal(signal.SIGSTOP)
    wait_until(lambda: is_back(shared, 2, stopped.pid), "server 2 is replaced")
    assert not alive(stopped)
    assert f"Server 2, pid {stopped.pid}, is replaced: it has not reported for" in shared.log()
    assert shared.get("/who", port=shared.server_port(2)).status == 200


def test_a_server_is_replaced_after_so_many_requests_without_a_failed_one(shared: Site) -> None:
    before = server_pids(shared)
    with Load(shared.port, clients=4, pause=0.01) as load:
        reload_settings(shared, maxRequests=200)
        wait_until(lambda: not set(server_pids(shared).values()) & set(before.values()), "both are replaced")
        reload_settings(shared, maxRequests=0)
        load.wait_for(20)
    assert load.outcome.failures == []
    assert_all_stored_once(shared, load.outcome.stored)
    assert re.search(rf"Server 1, pid {before[1]}, is replaced: it has answered \d+ requests", shared.log())


def test_a_server_that_has_grown_is_replaced(shared: Site) -> None:
    before = server_pids(shared)
    with Load(shared.port, clients=2, pause=0.02) as load:
        reload_settings(shared, maxMemory="150m")
        shared.get("/grow?megabytes=150", port=shared.server_port(2))
        wait_until(lambda: is_back(shared, 2, before[2]), "server 2 is replaced")
        reload_settings(shared, maxMemory=0)
        load.wait_for(20)
    assert load.outcome.failures == []
    assert server_pids(shared)[1] == before[1]
    assert re.search(rf"Server 2, pid {before[2]}, is replaced: it has \d+ MB of memory", shared.log())
