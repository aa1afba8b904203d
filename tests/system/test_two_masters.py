"""An exchange of nginx that is cut off between its two signals leaves two masters; one of them goes."""

from __future__ import annotations

import os
import signal

import psutil
import pytest
from harness import Site, wait_until
from load import Load
from seen import pids


def masters(site: Site) -> set[int]:
    found = set()
    for process in site.processes():
        try:
            if "nginx: master" in " ".join(process.cmdline()):
                found.add(process.pid)
        except psutil.Error:
            continue
    return found


def exchange_half(site: Site) -> tuple[int, int]:
    """The former master and the new one, which both have workers."""
    former = site.pid("nginx")
    os.kill(former, signal.SIGUSR2)
    wait_until(lambda: site.pid("nginx") != former and psutil.Process(site.pid("nginx")).children(), "a new master")
    # Its workers are called as it is for a moment.
    wait_until(lambda: masters(site) == {former, site.pid("nginx")}, "the two are all that are called so")
    return former, site.pid("nginx")


def test_the_next_supervisor_ends_the_former_one(running: Site) -> None:
    servers = pids(running, "zope1", "zope2", "storage")
    with Load(running.port, clients=4, pause=0.01) as load:
        load.wait_for(20)
        running.kill("supervisor")
        _, new = exchange_half(running)
        running.ok("start")
        wait_until(lambda: masters(running) == {new}, "one master")
        assert running.ok("status").out == f"program running; pid={new}\n"
        assert pids(running, "zope1", "zope2", "storage") == servers
        load.wait_for(20)
        running.ok("detach", "2")
        running.ok("restart", "nginx")
        load.wait_for(20)
    assert load.outcome.failures == []
    running.ok("stop")
    wait_until(lambda: not running.processes(), "nothing is left")


def test_a_former_one_whose_successor_dies_is_adopted_all_the_same(running: Site) -> None:
    running.kill("supervisor")
    former, new = exchange_half(running)
    os.kill(new, signal.SIGTERM)
    wait_until(lambda: masters(running) == {former}, "the new one has ended")
    running.ok("start")
    assert running.ok("status").out == f"program running; pid={former}\n"
    assert running.get("/who").status == 200
    running.ok("restart", "nginx")
    wait_until(lambda: len(masters(running)) == 1 and former not in masters(running), "exchanged")
    assert running.get("/who").status == 200


def test_a_lost_pid_file_does_not_hide_it(running: Site) -> None:
    master = running.pid("nginx")
    running.kill("supervisor")
    (running.home / "var/nginx.pid").unlink()
    running.ok("start")
    assert running.pid("nginx") == master
    assert running.ok("status").out == f"program running; pid={master}\n"
    running.ok("stop")
    wait_until(lambda: not running.processes(), "nothing is left")


def test_a_stop_ends_one_that_somebody_else_exchanged(running: Site) -> None:
    exchange_half(running)
    running.ok("stop")
    wait_until(lambda: not running.processes(), "nothing is left")


@pytest.mark.parametrize("command", [["start"], ["reload"], ["restart", "nginx"], ["detach", "2"]])
def test_where_somebody_else_exchanged_it_the_next_command_that_is_about_it_leaves_one(
    running: Site, command: list[str]
) -> None:
    former, new = exchange_half(running)
    running.ok(*command)
    wait_until(lambda: len(masters(running)) == 1, "one master")
    assert former not in masters(running)
    assert running.ok("status").out.splitlines()[0] == f"program running; pid={running.pid('nginx')}"
    assert (running.pid("nginx") == new) is (command != ["restart", "nginx"])
    expected = {str(running.pid("zope1"))} | ({str(running.pid("zope2"))} if command[0] != "detach" else set())
    assert {running.get("/who").text.split()[0] for _ in range(20)} == expected


def test_where_somebody_else_exchanged_it_and_the_former_one_goes_the_new_one_is_taken(running: Site) -> None:
    former, new = exchange_half(running)
    os.kill(former, signal.SIGQUIT)
    wait_until(lambda: running.run("status").out == f"program running; pid={new}\n", "the new one is taken")
    running.ok("detach", "2")
    assert {running.get("/who").text.split()[0] for _ in range(10)} == {str(running.pid("zope1"))}


def test_storage_whose_pid_file_is_lost_is_adopted_all_the_same(running: Site) -> None:
    storage = running.pid("storage")
    running.kill("supervisor")
    (running.home / "var/run/storage.pid").unlink()
    running.ok("start")
    assert running.pid("storage") == storage
    assert running.post("/store", "id=after").status == 200
