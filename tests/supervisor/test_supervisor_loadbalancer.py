"""The load balancer, its nginx played: what is found by name, and an end that does not come at once."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Iterator

import pytest
from fakes import FakeProcess, soon
from short_home import short_home

from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.supervisor.parts import loadbalancer, nginx_birth, nginx_leaving
from zenwebserver.supervisor.parts.loadbalancer import LEAVING_SECONDS, START_SECONDS, LoadBalancer
from zenwebserver.supervisor.parts.state import State
from zenwebserver.supervisor.tasks import Tasks


@pytest.fixture
def home() -> Iterator[Home]:
    with short_home() as home:
        yield home


class FakeNginx:
    """In the place of nginx_processes.py: what runs of it, as the kernel tells."""

    def __init__(self, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = home
        self.lacks: OSError | None = None  # what adopting a process raises
        self._masters: list[FakeProcess] = []  # the newest is the first
        self._orphans: list[FakeProcess] = []
        self._accept: dict[int, set[FakeProcess]] = {}
        self._finish: dict[int, set[FakeProcess]] = {}
        monkeypatch.setattr(loadbalancer, "nginx_processes", self)
        monkeypatch.setattr(nginx_birth, "nginx_processes", self)
        monkeypatch.setattr(nginx_leaving, "nginx_processes", self)
        monkeypatch.setattr(loadbalancer.psutil, "Process", self._process)

    def master(self, *, workers: int = 1) -> FakeProcess:
        master = FakeProcess()
        self._masters.insert(0, master)
        self._accept[master.pid] = {FakeProcess() for _ in range(workers)}
        self._finish[master.pid] = set()
        self.home.nginx_pid.write_text(f"{master.pid}\n")
        return master

    def orphan(self) -> FakeProcess:
        self._orphans.append(FakeProcess())
        return self._orphans[-1]

    def begins_to_reload(self, master: FakeProcess) -> None:
        """New workers accept, and the former ones still do."""
        self._accept[master.pid].add(FakeProcess())

    def has_reloaded(self, master: FakeProcess, former: set[FakeProcess]) -> None:
        self._accept[master.pid] -= former
        self._finish[master.pid] |= former

    def adopted(self, process: FakeProcess) -> FakeProcess | None:
        if self.lacks:
            raise self.lacks
        return process if process.running else None

    def _process(self, pid: int) -> FakeProcess:
        return next(master for master in self._masters if master.pid == pid)

    # The interface.

    def masters(self, _: Home) -> list[FakeProcess]:
        return [master for master in self._masters if master.running]

    def named_master(self, home: Home) -> FakeProcess | None:
        return next((master for master in self.masters(home) if master.pid == self.pid_in_file(home)), None)

    def pid_in_file(self, home: Home) -> int:
        return int(home.nginx_pid.read_text())

    def workers(self, master: int, *, leaving: bool = False) -> set[FakeProcess]:
        both = self._accept[master] | (self._finish[master] if leaving else set())
        return {worker for worker in both if worker.running}

    def orphans(self, _: Home) -> list[FakeProcess]:
        return [orphan for orphan in self._orphans if orphan.running]

    def listens(self, pid: int) -> bool:
        return any(orphan.pid == pid for orphan in self.orphans(self.home))


@pytest.fixture
def nginx(home: Home, monkeypatch: pytest.MonkeyPatch) -> FakeNginx:
    return FakeNginx(home, monkeypatch)


async def running(home: Home, nginx: FakeNginx) -> tuple[LoadBalancer, FakeProcess]:
    master = nginx.master()
    balancer = LoadBalancer(home, Tasks())
    await balancer.adopt()
    assert balancer.process is master
    return balancer, master


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_where_the_home_was_moved_away_nginx_is_not_started_and_nothing_is_made(
    home: Home, nginx: FakeNginx
) -> None:
    balancer = LoadBalancer(home, Tasks())
    moved = home.path.rename(home.path.with_name(f"{home.path.name}m"))
    with pytest.raises(FileNotFoundError):
        await balancer.start()
    assert not home.path.exists()
    moved.rename(home.path)


# What an earlier supervisor left.


async def test_of_two_masters_the_new_one_stays_and_the_former_is_told_to_leave(home: Home, nginx: FakeNginx) -> None:
    former, new = nginx.master(), nginx.master()
    former.ignores.add(signal.SIGQUIT)  # it finishes
    home.nginx_pid.write_text(f"{former.pid}\n")
    balancer = LoadBalancer(home, Tasks())
    await balancer.adopt()
    assert balancer.process is new
    assert (former.signals, new.signals) == ([signal.SIGQUIT], [])
    assert home.nginx_pid.read_text() == f"{new.pid}\n"
    assert balancer.outdated_workers() == {former}, "it may still send to any server"
    former.die()
    await soon()
    assert balancer.outdated_workers() == set()
    await balancer.stop()


async def test_a_new_master_that_has_not_come_up_is_ended_and_the_former_stays(home: Home, nginx: FakeNginx) -> None:
    former, new = nginx.master(), nginx.master(workers=0)
    balancer = LoadBalancer(home, Tasks())
    await balancer.adopt()
    assert balancer.process is former
    assert (former.signals, new.signals) == ([], [signal.SIGTERM])
    await balancer.stop()


async def test_stuck_workers_without_a_master_keep_no_supervisor_from_beginning(home: Home, nginx: FakeNginx) -> None:
    orphan = nginx.orphan()
    orphan.ignores |= {signal.SIGQUIT, signal.SIGTERM}
    home.nginx_pid.write_text("0\n")
    balancer = LoadBalancer(home, Tasks())
    begun = now()
    await balancer.adopt()
    assert now() == begun
    assert balancer.was_killed
    assert orphan.signals == []
    with pytest.raises(ZenwebserverError, match="without a master kept their port within 30 s") as error:
        await balancer.start()
    assert error.value.hint == f"To end them: kill -9 {orphan.pid}"
    await balancer.stop()
    assert orphan.signals == [signal.SIGQUIT, signal.SIGTERM, signal.SIGKILL]


async def test_a_full_disk_keeps_nobody_from_adopting_a_master_whose_pid_file_is_lost(
    home: Home, nginx: FakeNginx, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    master = nginx.master()
    nginx.pid_in_file = lambda _: None  # type: ignore[method-assign, assignment, return-value]

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    balancer = LoadBalancer(home, Tasks())
    with monkeypatch.context() as patch:
        patch.setattr(loadbalancer.files, "replace", full)
        await balancer.adopt()
    assert balancer.process is master
    assert "No space left" in caplog.text
    await balancer.stop()


# A start.


@pytest.mark.parametrize(
    ("seconds", "why"), [(1.0, "it ended with exit code 1"), (1000.0, "it was not ready after 30 s")]
)
async def test_a_start_that_fails_says_how_and_leaves_nothing(
    home: Home, nginx: FakeNginx, monkeypatch: pytest.MonkeyPatch, seconds: float, why: str
) -> None:
    nginx.orphan().die()
    home.nginx_pid.write_text("0\n")
    starter = FakeProcess()
    asyncio.get_running_loop().call_later(seconds, starter.die, "ended with exit code 1")
    monkeypatch.setattr(loadbalancer.Process, "spawn", lambda *_, **__: starter)
    balancer = LoadBalancer(home, Tasks())
    with pytest.raises(ZenwebserverError, match=why):
        await balancer.start()
    assert not starter.running
    assert balancer.state is State.STOPPED


async def test_workers_without_a_master_that_keep_the_port_are_told(home: Home, nginx: FakeNginx) -> None:
    orphan = nginx.orphan()
    orphan.ignores.add(signal.SIGQUIT)
    balancer = LoadBalancer(home, Tasks())
    with pytest.raises(ZenwebserverError, match="without a master kept their port within 30 s"):
        await balancer.start()
    assert balancer.state is State.STOPPED
    orphan.die()
    await soon()


# A reload.


async def test_a_reload_is_over_when_new_workers_accept_and_the_former_do_not(home: Home, nginx: FakeNginx) -> None:
    balancer, master = await running(home, nginx)
    master.ignores.add(signal.SIGHUP)
    former = nginx.workers(master.pid)
    reload = asyncio.create_task(balancer.reload())
    await asyncio.sleep(1)
    assert master.signals == [signal.SIGHUP]
    nginx.begins_to_reload(master)
    await asyncio.sleep(1)
    assert not reload.done()
    assert not balancer.knows_its_files
    nginx.has_reloaded(master, former)
    await reload
    assert balancer.knows_its_files
    assert balancer.outdated_workers() == former
    gone = asyncio.create_task(balancer.workers_gone(balancer.outdated_workers()))
    await asyncio.sleep(100)
    assert not gone.done()
    for worker in former:
        worker.die()
    assert await gone
    assert balancer.outdated_workers() == set()
    await balancer.stop()


REFUSED = '[emerg] 7#7: cache "zope" uses the "/b" cache path while previously it used the "/a" cache path\n'


async def test_what_nginx_takes_up_only_at_its_start_makes_a_reload_an_exchange(home: Home, nginx: FakeNginx) -> None:
    tasks = Tasks()
    balancer = LoadBalancer(home, tasks)
    master = nginx.master()
    await balancer.adopt()
    master.ignores |= {signal.SIGHUP, signal.SIGUSR2}
    reload = asyncio.create_task(balancer.reload())
    await soon()
    assert signal.SIGUSR2 not in master.signals
    (home.nginx_log / "error.log").write_text(REFUSED)
    await asyncio.sleep(0.1)
    assert master.signals == [signal.SIGHUP, signal.SIGUSR2]
    successor = nginx.master()
    assert await reload is True
    assert balancer.pid == successor.pid
    assert master.signals[-1] is signal.SIGQUIT
    assert balancer.knows_its_files
    await tasks.end()


async def test_any_other_refusal_exchanges_nothing(home: Home, nginx: FakeNginx) -> None:
    tasks = Tasks()
    balancer = LoadBalancer(home, tasks)
    master = nginx.master()
    await balancer.adopt()
    master.ignores |= {signal.SIGHUP}
    reload = asyncio.create_task(balancer.reload())
    await soon()
    (home.nginx_log / "error.log").write_text("[emerg] 7#7: bind() to 0.0.0.0:80 failed (98: Address already in use)\n")
    with pytest.raises(ZenwebserverError, match="nginx keeps its former configuration") as error:
        await reload
    assert "bind() to" in error.value.detail
    assert master.signals == [signal.SIGHUP]
    await tasks.end()


async def test_where_it_cannot_be_exchanged_yet_the_reload_says_what_to_do(home: Home, nginx: FakeNginx) -> None:
    tasks = Tasks()
    balancer = LoadBalancer(home, tasks)
    former, master = nginx.master(), nginx.master()
    former.ignores |= {signal.SIGQUIT}
    await balancer.adopt()
    assert balancer.pid == master.pid
    master.ignores |= {signal.SIGHUP}
    log = home.nginx_log / "error.log"
    reload = asyncio.create_task(balancer.reload())
    await soon()
    log.write_text(REFUSED)
    await asyncio.sleep(LEAVING_SECONDS + 1)
    log.write_text(REFUSED * 2)
    with pytest.raises(ZenwebserverError, match="nginx keeps its former configuration") as error:
        await reload
    assert "zenwebserver restart loadbalancer" in error.value.hint
    assert signal.SIGUSR2 not in master.signals
    former.die()
    await soon()
    await tasks.end()


async def test_two_reloads_have_the_pause_between_them_that_was_set(home: Home, nginx: FakeNginx) -> None:
    balancer, master = await running(home, nginx)
    master.ignores.add(signal.SIGHUP)
    balancer.reload_pause = 5.0
    begun = []
    for _ in range(2):
        former = nginx.workers(master.pid)
        reload = asyncio.create_task(balancer.reload())
        while not master.signals:
            await asyncio.sleep(0.01)
        begun.append(asyncio.get_running_loop().time())
        master.signals.clear()
        nginx.begins_to_reload(master)
        nginx.has_reloaded(master, former)
        await reload
    assert 4.9 < begun[1] - begun[0] < 5.2
    await balancer.stop()


async def test_a_worker_that_does_not_hear_of_a_reload_is_killed_once_the_new_ones_accept(
    home: Home, nginx: FakeNginx
) -> None:
    balancer, master = await running(home, nginx)
    master.ignores.add(signal.SIGHUP)
    (stuck,) = nginx.workers(master.pid)
    begun = now()
    reload = asyncio.create_task(balancer.reload())
    await soon()
    nginx.begins_to_reload(master)
    await reload
    assert now() - begun == pytest.approx(START_SECONDS)
    assert stuck.signals == [signal.SIGKILL]
    assert balancer.knows_its_files
    assert balancer.outdated_workers() == set()
    await balancer.stop()


async def test_where_no_new_workers_come_the_former_ones_go_on(home: Home, nginx: FakeNginx) -> None:
    balancer, master = await running(home, nginx)
    master.ignores.add(signal.SIGHUP)
    (former,) = nginx.workers(master.pid)
    with pytest.raises(ZenwebserverError, match="did not take up its configuration within 30 s"):
        await balancer.reload()
    assert former.signals == []
    assert not balancer.knows_its_files
    await balancer.stop()


async def test_an_exchange_is_made_when_the_new_master_has_workers_and_the_former_leaves(
    home: Home, nginx: FakeNginx
) -> None:
    balancer, former = await running(home, nginx)
    former.ignores |= {signal.SIGUSR2, signal.SIGQUIT}
    upgrade = asyncio.create_task(balancer.upgrade())
    await asyncio.sleep(1)
    assert former.signals == [signal.SIGUSR2]
    new = nginx.master(workers=0)
    await asyncio.sleep(1)
    assert not upgrade.done()
    assert former.signals == [signal.SIGUSR2]
    nginx.begins_to_reload(new)
    assert await upgrade
    assert balancer.process is new
    assert former.signals == [signal.SIGUSR2, signal.SIGQUIT]
    assert balancer.outdated_workers() == {former}
    former.die()
    await soon()
    assert balancer.state is State.RUNNING, "it was not the one that serves"
    await balancer.stop()


async def test_a_new_master_that_does_not_come_up_is_ended_and_the_former_goes_on(home: Home, nginx: FakeNginx) -> None:
    balancer, former = await running(home, nginx)
    former.ignores.add(signal.SIGUSR2)
    upgrade = asyncio.create_task(balancer.upgrade())
    await soon()
    new = nginx.master(workers=0)
    new.ignores.add(signal.SIGTERM)
    with pytest.raises(ZenwebserverError, match="The new nginx did not start within 30 s"):
        await upgrade
    assert new.signals == [signal.SIGTERM, signal.SIGKILL]
    assert former.signals == [signal.SIGUSR2]
    assert balancer.process is former
    assert balancer.state is State.RUNNING
    await balancer.stop()


async def test_while_the_master_before_it_still_finishes_one_is_reloaded_and_not_exchanged(
    home: Home, nginx: FakeNginx
) -> None:
    former, master = nginx.master(), nginx.master()
    former.ignores.add(signal.SIGQUIT)
    master.ignores.add(signal.SIGHUP)
    balancer = LoadBalancer(home, Tasks())
    await balancer.adopt()
    upgrade = asyncio.create_task(balancer.upgrade())
    await asyncio.sleep(LEAVING_SECONDS - 1)
    assert master.signals == [], "it would ignore the one for an exchange"
    workers = nginx.workers(master.pid)
    await asyncio.sleep(2)
    nginx.begins_to_reload(master)
    nginx.has_reloaded(master, workers)
    assert not await upgrade
    assert master.signals == [signal.SIGHUP]
    assert balancer.process is master
    former.die()
    await balancer.stop()


async def test_former_workers_that_do_not_finish_are_waited_for_up_to_the_drain_timeout(
    home: Home, nginx: FakeNginx
) -> None:
    balancer, master = await running(home, nginx)
    begun = now()
    assert not await balancer.workers_gone(nginx.workers(master.pid))
    assert now() - begun == balancer.leaving.drain_timeout
    await balancer.stop()


# The end.


async def test_a_stop_returns_when_all_is_answered_and_cuts_off_what_takes_too_long(
    home: Home, nginx: FakeNginx
) -> None:
    balancer, master = await running(home, nginx)
    master.ignores.add(signal.SIGQUIT)
    begun = now()
    await balancer.stop()
    assert master.signals == [signal.SIGQUIT, signal.SIGTERM]
    assert now() - begun == balancer.leaving.drain_timeout
    assert balancer.state is State.STOPPED


@pytest.mark.parametrize("seconds", [1.0, 9.99, 10.0])
async def test_requests_that_nginx_cuts_off_itself_at_the_drain_timeout_are_told_of(
    home: Home, nginx: FakeNginx, caplog: pytest.LogCaptureFixture, seconds: float
) -> None:
    balancer, master = await running(home, nginx)
    balancer.leaving.drain_timeout = 10.0
    master.ignores.add(signal.SIGQUIT)
    asyncio.get_running_loop().call_later(seconds, master.die)
    await balancer.stop()
    assert ("outlasted the drain timeout" in caplog.text) == (seconds > 1)


async def test_a_stop_ends_workers_without_a_master_too_however_long_they_keep_their_port(
    home: Home, nginx: FakeNginx
) -> None:
    balancer, _ = await running(home, nginx)
    orphan = nginx.orphan()
    orphan.ignores |= {signal.SIGQUIT, signal.SIGTERM}  # it is stuck
    begun = now()
    await balancer.stop()
    assert orphan.signals == [signal.SIGQUIT, signal.SIGTERM, signal.SIGKILL]
    assert now() - begun == balancer.leaving.drain_timeout + START_SECONDS
    assert balancer.state is State.STOPPED


async def test_a_stop_that_failed_can_be_repeated(home: Home, nginx: FakeNginx) -> None:
    balancer, master = await running(home, nginx)
    stray = nginx.master()
    nginx.lacks = OSError(24, "Too many open files")
    with pytest.raises(OSError, match="Too many"):
        await balancer.stop()
    nginx.lacks = None
    await balancer.stop()
    assert (master.signals, stray.signals) == ([signal.SIGQUIT], [signal.SIGQUIT])
    assert balancer.state is State.STOPPED
