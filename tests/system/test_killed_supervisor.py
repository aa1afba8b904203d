"""The supervisor can die: the site goes on, and the next supervisor takes everything over."""

from __future__ import annotations

import shutil
import subprocess
import time

from harness import Site, wait_until
from load import Load
from losses import IN_THE_SERVER, beyond
from seen import pids, stored
from slow import SlowPage

PARTS = ("zope1", "zope2", "storage", "nginx")


def test_the_pool_goes_on_without_its_supervisor_and_the_next_one_adopts_it(running: Site) -> None:
    before = pids(running, *PARTS)
    status = running.ok("status", "-v").out
    with Load(running.port, clients=8) as load:
        load.wait_for(30)
        running.kill("supervisor")
        load.wait_for(30)
        alone = running.run("status", "-v")
        assert (alone.code, alone.out) == (0, status)
        assert "The supervisor is not running" in alone.err
        assert running.ok("status").out == f"program running; pid={before['nginx']}\n"

        assert "It runs already" in running.ok("start").out
        assert pids(running, *PARTS) == before
        assert running.ok("status", "-v").out == status

        killed = running.kill("zope1")
        wait_until(lambda: running.run("status", "-v").out.count("[UP]") == 4, "server 1 is back")
        assert running.pid("zope1") != killed
        failures = list(load.outcome.failures)  # of the killed server alone
        assert beyond(IN_THE_SERVER, failures, time.time()) == []

        running.ok("restart")
        running.ok("deploy", "+1")
        load.wait_for(30)
        assert load.outcome.failures == failures
    assert load.outcome.stored <= set(stored(running))
    running.ok("stop")
    wait_until(lambda: not running.processes(), "nothing is left")


def test_whatever_command_comes_next_finds_what_runs(running: Site) -> None:
    with Load(running.port, clients=4) as load:
        for command in ("attach 2", "detach 1", "attach 1", "restart server1", "deploy 1"):
            before = pids(running, "zope1", "storage", "nginx")
            load.wait_for(20)
            running.kill("supervisor")
            running.ok(*command.split())
            after = pids(running, "zope1", "storage", "nginx")
            assert {name for name in before if before[name] != after[name]} == (
                {"zope1"} if command == "restart server1" else set()
            )
        load.wait_for(20)
    assert load.outcome.failures == []
    assert stored(running) == dict.fromkeys(load.outcome.stored, 1)
    running.kill("supervisor")
    running.ok("stop")
    wait_until(lambda: not running.processes(), "nothing is left")


def test_a_server_that_was_booting_when_the_supervisor_died_does_not_stay(running: Site) -> None:
    deploying = running.popen("deploy", "+1", stderr=subprocess.PIPE)
    wait_until(lambda: len(worker_pids(running)) == 3, "the third server boots")
    running.kill("supervisor")
    said = deploying.communicate(timeout=30)[1]
    assert deploying.returncode == 1
    assert said == (
        "zenwebserver: The supervisor went away during: Deploying Server 3 (it ended)\n"
        "How that ended is not known; what runs goes on. To see how it stands: zenwebserver status\n"
    )
    assert running.run("status").out.endswith("\n2 of 3 servers\n")
    running.ok("start", "server1")
    running.ok("start")
    parts = running.run("status", "-v").out.count("[UP]")
    wait_until(lambda: len(worker_pids(running)) == parts - 2, "only what is asked for runs")  # - nginx, storage


def worker_pids(site: Site) -> set[int]:
    return {process.pid for process in site.processes() if process.name().startswith("zope")}


def test_after_the_death_of_everything_a_start_is_like_any_other(running: Site) -> None:
    with Load(running.port, clients=4) as load:
        load.wait_for(100)
    for process in running.processes():
        process.kill()
    wait_until(lambda: not running.processes(), "all are dead")
    assert (running.home / "var/run/supervisor.pid").exists()
    assert (running.home / "var/run/supervisor.sock").exists()

    dead = running.run("status")
    assert (dead.code, dead.out) == (1, "not running\n")
    assert running.run("status", "-v").out.count("[DOWN]") >= 3
    running.ok("start")
    assert stored(running) == dict.fromkeys(load.outcome.stored, 1)
    assert running.post("/store", "id=after").status == 200
    assert len(worker_pids(running)) == 2
    assert sum("nginx: master" in process.command for process in running.processes()) == 1
    running.ok("stop")
    wait_until(lambda: not running.processes(), "nothing is left")


def test_of_two_starts_at_once_one_supervisor_comes(site: Site) -> None:
    both = [site.popen("start") for _ in range(2)]
    assert [one.wait(60) for one in both] == [0, 0]
    assert supervisor_pids(site) == [site.pid("supervisor")]
    assert len(worker_pids(site)) == 2


def supervisor_pids(site: Site) -> list[int]:
    return [process.pid for process in site.processes() if "zenwebserver.supervisor" in process.command]


def test_a_start_that_is_typed_while_everything_stops_starts_it_again(running: Site) -> None:
    slow = SlowPage(running, 600)
    stopping = running.popen("stop")
    wait_until(lambda: "Load balancer: running, now stopping" in running.log(), "it stops")
    with running.popen("start", stdout=subprocess.PIPE) as starting:
        assert starting.stdout
        assert starting.stdout.readline() == "Waiting for: stop\n"
        slow.let_go()
        assert slow.answer().status == 200
        assert (stopping.wait(60), starting.wait(60)) == (0, 0)
    assert running.ok("status", "-v").out.count("[UP]") == 4
    assert supervisor_pids(running) == [running.pid("supervisor")]
    assert running.get("/who").status == 200


def test_what_killed_supervisors_left_unfinished_is_removed_by_the_next_one(site: Site) -> None:
    etc = site.home / "etc"
    unfinished = [
        *(etc / name for name in (".verify-k2j4x9_a", ".pool.json.k2j4x9_a.zenwebserver-new")),
        *(etc / "zope" / name for name in (".storage.conf.k2j4x9_a", ".zope1.conf.k2j4x9_a.zenwebserver-new")),
    ]
    others = [etc / ".verify-by-hand.txt.swp", etc / "zope" / "storage.conf.k2j4x9_a", etc / "zope" / ".notes"]
    (etc / "zope").mkdir(exist_ok=True)
    for path in (*unfinished, *others):
        path.write_text("")
    site.ok("start")
    assert [path for path in unfinished if path.exists()] == []
    assert [path for path in others if not path.exists()] == []


# Deleted under it.


def test_without_its_folder_of_sockets_and_pid_files_it_is_found_and_no_other_comes(running: Site) -> None:
    before = pids(running, *PARTS)
    with Load(running.port, clients=4, pause=0.01) as load:
        load.wait_for(20)
        (supervisor,) = supervisor_pids(running)
        shutil.rmtree(running.home / "var" / "run")
        assert running.ok("start").code == 0
        wait_until(lambda: running.run("status", "-v").out.count("[UP]") == 4, "storage is back, with its socket")
        assert supervisor_pids(running) == [supervisor] == [running.pid("supervisor")]
        now = pids(running, *PARTS)
        assert {name for name in PARTS if now[name] != before[name]} <= {"storage"}
        running.ok("restart", "servers")
        load.wait_for(20)
    assert load.outcome.failures == []
    assert load.outcome.stored <= set(stored(running))
    running.ok("stop")
    wait_until(lambda: not running.processes(), "nothing is left")


def test_without_its_folder_of_logs_everything_goes_on_and_is_logged_anew(running: Site) -> None:
    shutil.rmtree(running.home / "log")
    with Load(running.port, clients=4, pause=0.01) as load:
        load.wait_for(20)
        running.ok("deploy", "+1")
        running.ok("restart")
        load.wait_for(20)
    assert load.outcome.failures == []
    assert "Begin: restart" in running.log()
    assert "Ready to handle requests" in running.log("zope1")
    running.ok("stop")
    wait_until(lambda: not running.processes(), "nothing is left")
