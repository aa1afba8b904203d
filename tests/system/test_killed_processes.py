"""What is killed comes back without help, and visitors notice as little as can be."""

from __future__ import annotations

import signal
import time

import psutil
from harness import Site, alive, wait_until
from load import Load
from losses import IN_THE_SERVER, beyond
from seen import pids, stored


def is_up(site: Site, title: str) -> bool:
    return f"{title} status".ljust(50) + "[UP]" in site.run("status", "-v").out


def test_a_killed_server_is_back_at_once_and_every_get_is_answered(running: Site) -> None:
    with Load(running.port, clients=8) as load:
        load.wait_for(50)
        killed = running.kill("zope1")
        wait_until(lambda: is_up(running, "Server 1") and running.pid("zope1") != killed, "server 1 is back")
        back = time.time()
        load.wait_for(100)
    assert beyond(IN_THE_SERVER, load.outcome.failures, back) == []
    counts = stored(running)
    assert load.outcome.stored <= set(counts)
    assert set(counts.values()) == {1}
    assert running.get("/who", port=running.server_port(1)).text.split()[0] == str(running.pid("zope1"))
    assert "Server 1, pid" in running.log()
    assert "was killed by SIGKILL" in running.log()


def test_a_killed_nginx_comes_back_and_its_workers_do_not_stay(running: Site) -> None:
    worker, other = running.workers_of_nginx()
    worker.kill()

    def another_in_its_place() -> bool:
        workers = running.workers_of_nginx()
        return worker not in workers and other in workers and len(workers) == 2

    wait_until(another_in_its_place, "a worker in its place")
    assert running.get("/who").status == 200

    orphans = running.workers_of_nginx()
    servers = pids(running, "zope1", "zope2", "storage")
    killed = running.kill("nginx")
    wait_until(lambda: running.pid("nginx") != killed and is_up(running, "Load balancer"), "nginx is back")
    assert running.get("/who").status == 200
    wait_until(lambda: not any(map(alive, orphans)), "its workers have gone")
    assert pids(running, "zope1", "zope2", "storage") == servers
    for change in ("reload", "restart nginx"):
        running.ok(*change.split())
        assert running.get("/who").status == 200


def test_an_nginx_that_was_killed_with_its_supervisor_comes_back_with_the_next_one(running: Site) -> None:
    orphans = running.workers_of_nginx()
    for name in ("supervisor", "nginx"):
        running.kill(name)
    assert running.get("/who").status == 200, "its workers serve on"
    running.ok("detach", "1")
    assert {int(running.get("/who").text.split()[0]) for _ in range(8)} == {running.pid("zope2")}
    assert is_up(running, "Load balancer")
    wait_until(lambda: not any(map(alive, orphans)), "its workers have gone")
    before = running.pid("nginx"), running.workers_of_nginx()
    running.ok("attach", "1")
    assert (running.pid("nginx"), running.workers_of_nginx()) == before, "it asks for its servers"
    for name in ("supervisor", "nginx"):
        running.kill(name)
    running.ok("stop")
    wait_until(lambda: not running.processes(), "nothing is left")


def test_requests_wait_for_a_killed_storage_and_nothing_that_was_stored_is_lost(running: Site) -> None:
    with Load(running.port, clients=4) as load:
        load.wait_for(50)
    killed = running.kill("storage")
    with Load(running.port, clients=4) as after:
        after.wait_for(50)
    assert after.outcome.failures == []
    assert running.pid("storage") != killed
    assert stored(running) == dict.fromkeys(load.outcome.stored | after.outcome.stored, 1)
    assert is_up(running, "Storage")


def test_a_stop_right_after_a_death_leaves_nothing_behind(running: Site) -> None:
    for name in ("zope1", "nginx", "storage"):
        psutil.Process(running.pid(name)).send_signal(signal.SIGKILL)
    running.ok("stop")
    wait_until(lambda: not running.processes(), "nothing is left")
    assert running.run("status").out == "not running\n"
