"""What is killed comes back without help, and visitors notice as little as can be."""

from __future__ import annotations

import contextlib
import signal

import psutil
from harness import Site, wait_until
from load import Load
from seen import pids, stored


def nginx_workers(site: Site) -> set[psutil.Process]:
    found = set()
    for child in psutil.Process(site.pid("nginx")).children():
        with contextlib.suppress(psutil.Error):  # it ends at this moment
            if "worker process" in " ".join(child.cmdline()):
                found.add(child)
    return found


def is_up(site: Site, title: str) -> bool:
    return f"{title} status".ljust(50) + "[UP]" in site.run("status", "-v").out


def test_a_killed_server_is_back_at_once_and_every_get_is_answered(running: Site) -> None:
    with Load(running.port, clients=8) as load:
        load.wait_for(50)
        killed = running.kill("zope1")
        wait_until(lambda: is_up(running, "Server 1") and running.pid("zope1") != killed, "server 1 is back")
        load.wait_for(100)
    assert [failure for failure in load.outcome.failures if " GET " in failure] == []
    # A POST that was in the killed process is answered 502: it must not be sent twice.
    assert len(load.outcome.failures) <= 8
    assert all(" 502 " in failure for failure in load.outcome.failures)
    counts = stored(running)
    assert load.outcome.stored <= set(counts)
    assert set(counts.values()) == {1}
    assert running.get("/who", port=running.server_port(1)).text.split()[0] == str(running.pid("zope1"))
    assert "Server 1, pid" in running.log()
    assert "was killed by SIGKILL" in running.log()


def test_a_killed_nginx_comes_back_and_its_workers_do_not_stay(running: Site) -> None:
    worker = min(nginx_workers(running), key=lambda process: process.pid)
    worker.kill()
    wait_until(
        lambda: worker not in nginx_workers(running) and len(nginx_workers(running)) == 2, "a worker in its place"
    )
    assert running.get("/who").status == 200

    orphans = nginx_workers(running)
    servers = pids(running, "zope1", "zope2", "storage")
    killed = running.kill("nginx")
    wait_until(lambda: running.pid("nginx") != killed and is_up(running, "Load balancer"), "nginx is back")
    assert running.get("/who").status == 200
    psutil.wait_procs(orphans, timeout=20)
    assert not any(orphan.is_running() and orphan.status() != psutil.STATUS_ZOMBIE for orphan in orphans)
    assert pids(running, "zope1", "zope2", "storage") == servers
    for change in ("reload", "restart nginx"):
        running.ok(*change.split())
        assert running.get("/who").status == 200


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
