"""Storage: whatever befalls it, it comes back; visitors are told when to come again, and nothing is left behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator

import psutil
from harness import Site, alive, wait_until
from load import Load
from seen import pids, stored

PARTS = ("zope1", "zope2", "storage", "nginx")
VISIT_SECONDS = 30.0  # a visitor who is not answered by then waits as long as storage is away


def is_whole(site: Site) -> bool:
    """All that is asked for runs, and each server is connected again."""
    ports = (site.server_port(1), site.server_port(2))
    return site.run("status").code == 0 and all(site.get("/who", port=port).status == 200 for port in ports)


def writes(site: Site, ident: str) -> bool:
    return site.post("/store", f"id={ident}").status == 200


@contextlib.contextmanager
def locked(site: Site) -> Iterator[str]:
    """The next storage finds that this process has Data.fs open. Yields its path."""
    data = site.home / "var" / "filestorage" / "Data.fs"
    held = data.with_name("held")
    with held.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(f" {os.getpid()}\n")
        lock.flush()
        held.rename(data.with_name("Data.fs.lock"))
        yield str(data)


def loses_its_pid_files(site: Site) -> None:
    site.kill("supervisor")
    for path in (site.home / "var" / "run").glob("*.pid"):
        path.unlink()


def test_killed_six_times_in_a_minute_it_comes_back_and_what_was_refused_is_not_stored(shared: Site) -> None:
    before = stored(shared)
    with Load(shared.port, clients=2, pause=0.02) as load:
        for _ in range(6):
            load.wait_for(4)
            shared.kill("storage")
            wait_until(lambda: is_whole(shared), "storage is back")
        load.wait_for(20)
    assert {failure.kind for failure in load.outcome.failures} <= {"503"}
    assert stored(shared) == {**before, **dict.fromkeys(load.outcome.stored, 1)}, "nothing else, and nothing twice"


def test_while_it_cannot_start_all_are_told_and_when_it_can_it_does(shared: Site) -> None:
    with locked(shared) as data:
        shared.kill("storage")
        answer = shared.request("POST", "/store", "id=refused", timeout=VISIT_SECONDS)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
        page = shared.get("/who", headers={"Accept": "text/html"}, timeout=VISIT_SECONDS)
        assert page.status == 503
        assert page.body == (shared.home / "html" / "zenwebserver_50x.html").read_bytes()
        assert page.headers["Cache-Control"] == "no-store"
        api = shared.get("/who", headers={"Accept": "application/json"}, timeout=VISIT_SECONDS)
        assert (api.status, api.headers["Content-Type"]) == (503, "application/json; charset=utf-8")

        why = f"{data} is open in another process, pid {os.getpid()}"
        wait_until(lambda: why in shared.run("status").out, "it has been tried again")
        ran = shared.run("status")
        assert ran.code == 1
        first, second = ran.out.splitlines()
        assert first == f"program running; pid={shared.pid('nginx')}"
        assert f"storage is down ({why}: " in second
        assert shared.run("status", "--json").code == 1

        failed = shared.run("restart", "storage")
        assert failed.code == 1
        assert failed.err.startswith(f"zenwebserver: Storage did not start: {why}: ")
        assert "Only one process can have it open: end that one." in failed.err
    wait_until(lambda: is_whole(shared), "it is back, without a command")
    assert writes(shared, "afterwards")
    assert "refused" not in stored(shared)


def test_one_that_hangs_is_killed_and_comes_back(shared: Site) -> None:
    hangs = psutil.Process(shared.pid("storage"))
    hangs.send_signal(signal.SIGSTOP)
    wait_until(lambda: not alive(hangs), "it is killed")
    assert f"Storage, pid {hangs.pid}, is killed: it has not reported for" in shared.log()
    wait_until(lambda: is_whole(shared), "it is back")
    assert writes(shared, "after-it-hung")


def test_the_next_supervisor_knows_it_by_its_call_alone(shared: Site) -> None:
    before = pids(shared, *PARTS)
    loses_its_pid_files(shared)
    shared.ok("start")
    assert pids(shared, *PARTS) == before
    killed = shared.kill("storage")
    wait_until(lambda: is_whole(shared), "it is watched")
    assert shared.pid("storage") != killed


def test_one_that_hangs_when_its_supervisor_dies_is_exchanged_by_the_next(shared: Site) -> None:
    hangs = psutil.Process(shared.pid("storage"))
    hangs.send_signal(signal.SIGSTOP)
    shared.kill("supervisor")
    shared.ok("start")
    wait_until(lambda: is_whole(shared), "another is there")
    assert not alive(hangs)
    assert writes(shared, "through-another")


def test_a_stop_ends_one_that_no_file_names(shared: Site) -> None:
    shared.ok("stop", "servers", "nginx")
    storage = psutil.Process(shared.pid("storage"))
    loses_its_pid_files(shared)
    assert "storage runs" in shared.run("status").out
    shared.ok("stop")
    assert not alive(storage)
    wait_until(lambda: not shared.processes(), "nothing is left")
    shared.ok("start")
