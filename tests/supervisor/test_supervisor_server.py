"""A server's life: deaths, exchanges, ways back and ends, in every order in which they can come."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import Played, soon, takes_connections

from zenwebserver.errors import ZenwebserverError
from zenwebserver.machine.ports import bind
from zenwebserver.supervisor.line.worker import StartError, Worker
from zenwebserver.supervisor.parts.birth import PROMPT
from zenwebserver.supervisor.parts.leaving import END_SECONDS, HEAR_SECONDS
from zenwebserver.supervisor.parts.server import SUCCESSION, Server
from zenwebserver.supervisor.parts.state import State
from zenwebserver.supervisor.tasks import Tasks
from zenwebserver.worker.messages import OrderName


class FakeRelease:
    """Servers are forked from it as long as `forks`."""

    def __init__(self, name: str, *, forks: bool = True) -> None:
        self.name, self.forks, self.distrusted = name, forks, ""

    async def distrust(self, why: str) -> None:
        self.forks, self.distrusted = False, why


class Stage:
    """A server, and the processes that are played behind it, the newest last."""

    def __init__(self, folder: Path, port: int) -> None:
        self.tasks = Tasks()
        self.folder = folder
        self.played: list[Played] = []
        self.released: list[FakeRelease] = []  # the release of each
        self.next: Callable[[Played], None] = lambda played: played.boots()
        self.given_up = 0
        self.left = 0
        self.server = Server(
            1,
            ("127.0.0.1", port),
            pid_file=folder / "zope1.pid",
            tasks=self.tasks,
            launch=self._launch,
            given_up=self._give_up,
            left=lambda _: self._has_left(),
        )
        self.old, self.new = self.release("1"), self.release("2")
        self.server.release = self.old

    def release(self, name: str, *, forks: bool = True) -> Any:
        return FakeRelease(name, forks=forks)

    async def _launch(self, server: Server) -> Worker:
        played = Played(self.folder / "zope1.log")
        self.played.append(played)
        self.released.append(server.release)  # type: ignore[arg-type]
        self.next(played)
        return played.worker

    async def _give_up(self, _: Server) -> None:
        self.given_up += 1

    def _has_left(self) -> None:
        self.left += 1

    @property
    def newest(self) -> Played:
        return self.played[-1]

    def next_boots(self, seconds: float = 0.0) -> None:
        self.next = lambda played: played.boots(seconds)

    def next_fails(self) -> None:
        self.next = Played.fails

    def listens(self) -> bool:
        return takes_connections(self.server.address)

    def pids(self) -> set[int]:
        return {played.process.pid for played in self.played if played.process.running}


@pytest.fixture
def port() -> int:
    """A free one below those that the kernel gives to clients."""
    while True:
        candidate = random.randrange(21000, 32000)
        with contextlib.suppress(ZenwebserverError), bind("127.0.0.1", candidate):
            return candidate


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


async def started(folder: Path, port: int) -> Stage:
    stage = Stage(folder, port)
    await stage.server.start()
    return stage


async def end(stage: Stage) -> None:
    """It can be stopped, whatever was before, and nothing of it is left."""
    await stage.server.stop()
    await soon()
    assert stage.server.state is State.STOPPED
    assert stage.pids() == set()
    assert not stage.listens()
    assert not (stage.folder / "zope1.pid").exists()


# Start and stop.


async def test_it_starts_serves_and_stops_with_nothing_left(folder: Path, port: int) -> None:
    stage = await started(folder, port)
    assert stage.server.state is State.RUNNING
    assert stage.server.pid == stage.newest.process.pid
    assert stage.newest.accepts
    assert stage.listens()
    await end(stage)
    assert stage.newest.process.signals == [], "it left by itself"


def is_deaf_once_it_has_booted(played: Played) -> None:
    played.boots()
    played.call.hears = False


async def test_one_that_boots_and_then_does_not_serve_is_killed(folder: Path, port: int) -> None:
    stage = Stage(folder, port)
    stage.next = is_deaf_once_it_has_booted
    with pytest.raises(StartError, match="was not serving after 15 s"):
        await stage.server.start()
    assert stage.pids() == set()
    assert stage.server.state is State.STOPPED
    stage.next_boots()
    stage.server.release = stage.old
    await stage.server.start()
    former = stage.newest
    stage.next = is_deaf_once_it_has_booted
    with pytest.raises(StartError, match="was not trying after 15 s"):
        await stage.server.exchange(stage.new)
    assert stage.pids() == {former.process.pid}
    assert former.accepts
    await end(stage)


async def test_a_start_that_fails_leaves_nothing(folder: Path, port: int) -> None:
    stage = Stage(folder, port)
    stage.next_fails()
    with pytest.raises(StartError, match="ValueError: broken"):
        await stage.server.start()
    assert stage.server.state is State.STOPPED
    assert "ValueError: broken" in stage.server.reason
    assert not stage.listens()
    assert stage.pids() == set()


async def test_a_start_that_hangs_is_ended_after_its_time(folder: Path, port: int) -> None:
    stage = Stage(folder, port)
    stage.server.start_timeout = 20.0
    stage.next_boots(1000.0)
    with pytest.raises(StartError, match="was not ready after 20 s"):
        await stage.server.start()
    assert stage.pids() == set()


async def test_one_that_crashes_right_after_the_fork_is_tried_once_more_without_it(folder: Path, port: int) -> None:
    stage = Stage(folder, port)

    def crash_if_forked(played: Played) -> None:
        if stage.old.forks:
            played.process.die("was killed by SIGSEGV")
        else:
            played.boots()

    stage.next = crash_if_forked
    await stage.server.start()
    assert len(stage.played) == 2
    assert "was killed by SIGSEGV right after the fork" in stage.old.distrusted
    await end(stage)


async def test_one_that_is_killed_right_after_the_fork_is_not(folder: Path, port: int) -> None:
    stage = Stage(folder, port)
    stage.next = lambda played: played.process.die("was killed by SIGKILL")
    with pytest.raises(StartError, match="was killed by SIGKILL"):
        await stage.server.start()
    assert len(stage.played) == 1
    assert stage.old.forks


async def test_what_still_runs_after_the_drain_timeout_is_killed(folder: Path, port: int) -> None:
    stage = await started(folder, port)
    stage.server.leaving.drain_timeout = 60.0
    stage.newest.call.leave_seconds = 10_000.0
    begun = asyncio.get_running_loop().time()
    await end(stage)
    assert asyncio.get_running_loop().time() - begun == pytest.approx(60.0 + END_SECONDS, abs=1)
    assert stage.newest.process.signals == [signal.SIGKILL]


async def test_one_that_does_not_hear_that_it_is_to_leave_is_killed_long_before_that(folder: Path, port: int) -> None:
    stage = await started(folder, port)
    stage.newest.call.hears = False
    begun = asyncio.get_running_loop().time()
    await end(stage)
    assert asyncio.get_running_loop().time() - begun == pytest.approx(HEAR_SECONDS, abs=1)


async def test_leaving_goes_on_after_it_was_told_and_a_new_start_need_not_wait_for_it(folder: Path, port: int) -> None:
    stage = await started(folder, port)
    former = stage.newest
    former.call.leave_seconds = 100.0
    await stage.server.retire()
    await stage.server.leave()
    assert stage.server.state is State.STOPPED
    assert [worker.process.pid for worker in stage.server.leaving] == [former.process.pid]
    assert stage.server.pid is None
    stage.server.release = stage.old
    await stage.server.start()
    assert stage.server.state is State.RUNNING
    assert stage.pids() == {former.process.pid, stage.newest.process.pid}
    await asyncio.sleep(101)
    assert stage.pids() == {stage.newest.process.pid}
    assert stage.left == 1
    await end(stage)


async def test_one_that_is_started_while_nginx_is_still_told_to_forget_it_goes_on(folder: Path, port: int) -> None:
    stage = await started(folder, port)
    await stage.server.retire()
    assert not stage.server.wanted, "nginx is not told of it any more"
    assert stage.server.resume()
    assert stage.server.state is State.RUNNING
    await stage.server.leave()
    assert stage.server.state is State.RUNNING, "whoever was about to stop it is too late"
    assert len(stage.played) == 1
    assert OrderName.LEAVE not in stage.newest.call.orders
    await end(stage)


async def test_one_that_dies_while_it_is_about_to_stop_is_not_revived(folder: Path, port: int) -> None:
    stage = await started(folder, port)
    await stage.server.retire()
    stage.newest.process.die()
    await asyncio.sleep(100)
    assert len(stage.played) == 1
    assert not stage.listens()
    assert not stage.server.resume()
    stage.server.release = stage.old
    await stage.server.start()
    assert stage.server.state is State.RUNNING
    await end(stage)


# Deaths.


async def test_a_warm_one_that_dies_comes_back_on_the_same_socket(folder: Path, port: int) -> None:
    stage = await started(folder, port)
    stage.next_boots(SUCCESSION / 2)
    stage.newest.process.die()
    await soon()
    assert stage.server.state is State.REVIVING
    assert stage.server.reason == "it was killed by SIGKILL"
    assert stage.listens(), "what comes in waits for the successor"
    await asyncio.sleep(SUCCESSION)
    assert stage.server.state is State.RUNNING
    assert stage.newest.accepts
    await end(stage)


async def test_where_the_successor_takes_longer_the_dead_ones_socket_is_closed(folder: Path, port: int) -> None:
    stage = await started(folder, port)
    stage.next_boots(10.0)
    stage.newest.process.die()
    await asyncio.sleep(SUCCESSION / 2)
    assert stage.listens()
    await asyncio.sleep(SUCCESSION)
    assert stage.server.state is State.DOWN
    assert not stage.listens(), "nginx goes elsewhere at once"
    await asyncio.sleep(10.0)
    assert stage.server.state is State.RUNNING
    assert stage.listens()
    await end(stage)


async def test_a_dead_one_that_has_no_warm_successor_refuses_at_once(folder: Path, port: int) -> None:
    stage = await started(folder, port)
    stage.old.forks = False
    stage.next_boots(0.5)
    stage.newest.process.die()
    await soon()
    assert stage.server.state is State.DOWN
    assert not stage.listens()
    await end(stage)


async def test_two_deaths_within_a_second_give_the_second_one_its_whole_second(folder: Path, port: int) -> None:
    stage = await started(folder, port)
    stage.newest.process.die()
    await asyncio.sleep(0.1)
    assert stage.server.state is State.RUNNING
    stage.server._deaths.forget()  # else there is a pause, in which it refuses
    stage.next_boots(0.95)
    await asyncio.sleep(0.5)
    stage.newest.process.die()
    await asyncio.sleep(0.8)
    assert stage.listens(), "the first death's second is over, not this one's"
    await asyncio.sleep(1.0)
    assert stage.server.state is State.RUNNING
    await end(stage)


async def test_one_that_dies_again_and_again_is_given_up_and_can_be_started_by_hand(folder: Path, port: int) -> None:
    stage = await started(folder, port)
    stage.next_fails()
    stage.newest.process.die()
    await asyncio.sleep(100)
    assert stage.server.state is State.FAILED
    assert "5 deaths in a minute" in stage.server.reason
    assert stage.given_up == 1
    assert not stage.listens()
    assert stage.pids() == set()
    stage.server.release = stage.old
    stage.next_boots()
    await stage.server.start()
    assert stage.server.state is State.RUNNING
    await end(stage)


async def test_a_defect_while_it_comes_back_is_one_more_failure_and_not_the_end(folder: Path, port: int) -> None:
    stage = await started(folder, port)
    calls = 0

    def defect_then_boot(played: Played) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            played.process.die()
            raise TypeError("a defect")
        played.boots()

    stage.next = defect_then_boot
    stage.newest.process.die()
    await asyncio.sleep(0.5)
    assert stage.server.reason == "TypeError: a defect"
    await asyncio.sleep(10)
    assert stage.server.state is State.RUNNING
    await end(stage)


async def test_a_start_hurries_one_that_waits_and_where_it_fails_it_goes_on_coming_back(
    folder: Path, port: int
) -> None:
    stage = await started(folder, port)
    stage.next_fails()
    stage.newest.process.die()
    await asyncio.sleep(4)
    assert stage.server.state is State.DOWN
    with pytest.raises(StartError):
        await stage.server.start()
    assert stage.server.wanted, "an admin's failed start does not end its revival"
    stage.next_boots()
    await asyncio.sleep(10)
    assert stage.server.state is State.RUNNING
    await end(stage)


async def test_a_stop_ends_a_boot_that_is_under_way(folder: Path, port: int) -> None:
    stage = await started(folder, port)
    stage.next_boots(50.0)
    stage.newest.process.die()
    await asyncio.sleep(3)
    assert len(stage.pids()) == 1
    await end(stage)
    await asyncio.sleep(100)
    assert len(stage.played) == 2


# Exchanges.


async def test_an_exchange_hands_the_socket_over_and_the_former_one_rests_until_it_is_settled(
    folder: Path, port: int
) -> None:
    stage = await started(folder, port)
    former = stage.newest
    stage.next_boots(5.0)
    exchange = asyncio.create_task(stage.server.exchange(stage.new))
    await asyncio.sleep(4)
    assert stage.server.state is State.EXCHANGING
    assert stage.server.serves
    assert former.accepts
    await exchange
    assert stage.server.state is State.EXCHANGED
    assert stage.newest.accepts
    assert stage.newest.call.orders == [OrderName.TRY, OrderName.ACCEPT]
    assert former.call.orders[-1] is OrderName.REST
    stage.server.settle()
    assert stage.server.state is State.RUNNING
    await soon()
    assert stage.pids() == {stage.newest.process.pid}
    assert stage.server.release is stage.new
    await end(stage)


async def test_a_successor_that_fails_leaves_the_former_one_serving(folder: Path, port: int) -> None:
    stage = await started(folder, port)
    former = stage.newest
    stage.next_fails()
    with pytest.raises(StartError, match="ValueError: broken"):
        await stage.server.exchange(stage.new)
    assert stage.server.state is State.RUNNING
    assert stage.server.release is stage.old
    assert former.accepts
    assert former.call.orders == [OrderName.ACCEPT]
    assert stage.pids() == {former.process.pid}
    await end(stage)


async def test_a_successor_that_dies_on_trial_never_gets_the_pools_socket(folder: Path, port: int) -> None:
    stage = await started(folder, port)
    former = stage.newest

    def dies_after_its_first_answer(played: Played) -> None:
        played.boots()
        asyncio.get_running_loop().call_later(0.1, played.process.die)

    stage.next = dies_after_its_first_answer
    with pytest.raises(StartError, match="after its first request"):
        await stage.server.exchange(stage.new)
    assert OrderName.ACCEPT not in stage.newest.call.orders
    assert former.accepts
    await end(stage)


async def test_going_back_needs_no_boot(folder: Path, port: int) -> None:
    stage = await started(folder, port)
    former = stage.newest
    await stage.server.exchange(stage.new)
    await stage.server.go_back()
    assert stage.server.state is State.RUNNING
    assert stage.server.release is stage.old
    assert stage.server.pid == former.process.pid
    assert former.accepts
    await soon()
    assert len(stage.played) == 2
    assert stage.pids() == {former.process.pid}
    assert stage.listens()
    await end(stage)


async def test_where_the_former_one_died_while_it_rested_going_back_boots_another_of_its_release(
    folder: Path, port: int
) -> None:
    stage = await started(folder, port)
    former = stage.newest
    await stage.server.exchange(stage.new)
    former.process.die()
    await stage.server.go_back()
    assert stage.server.state is State.RUNNING
    assert stage.released[-1] is stage.old
    assert stage.newest.accepts
    await soon()
    assert stage.pids() == {stage.newest.process.pid}
    await end(stage)


async def test_one_that_cannot_go_back_says_so_and_the_successor_goes_on(folder: Path, port: int) -> None:
    stage = await started(folder, port)
    former = stage.newest
    await stage.server.exchange(stage.new)
    successor = stage.newest
    former.process.die()
    stage.next_fails()
    with pytest.raises(ZenwebserverError, match=r"could not go back .*it goes on in release 2"):
        await stage.server.go_back()
    assert stage.server.state is State.RUNNING
    assert stage.server.release is stage.new
    assert successor.accepts
    assert stage.server.pid == successor.process.pid
    await end(stage)


async def test_a_successor_that_dies_before_it_is_settled_gives_the_socket_back(folder: Path, port: int) -> None:
    stage = await started(folder, port)
    former = stage.newest
    await stage.server.exchange(stage.new)
    stage.newest.process.die()
    await soon()
    assert stage.server.state is State.RUNNING
    assert stage.server.release is stage.old
    assert former.accepts
    stage.server.settle()
    await soon()
    assert former.accepts, "what was to be settled does not hold any more"
    await end(stage)


async def test_where_successor_and_former_one_die_it_comes_back_in_the_former_release(folder: Path, port: int) -> None:
    stage = await started(folder, port)
    former = stage.newest
    await stage.server.exchange(stage.new)
    stage.next_boots(10.0)
    former.process.die()
    stage.newest.process.die()
    await asyncio.sleep(SUCCESSION + 0.5)
    assert not stage.listens(), "nobody reads: it refuses"
    await asyncio.sleep(20)
    assert stage.server.state is State.RUNNING
    assert stage.released[-1] is stage.old
    await end(stage)


async def test_one_that_dies_while_its_successor_boots_waits_for_that_one(folder: Path, port: int) -> None:
    stage = await started(folder, port)
    stage.next_boots(10.0)
    exchange = asyncio.create_task(stage.server.exchange(stage.new))
    await asyncio.sleep(1)
    stage.played[0].process.die()
    await asyncio.sleep(SUCCESSION / 2)
    assert stage.server.state is State.REVIVING
    assert stage.listens()
    await asyncio.sleep(SUCCESSION)
    assert not stage.listens(), "nobody reads: it refuses"
    await exchange
    assert stage.server.state is State.RUNNING
    assert len(stage.played) == 2, "nothing else was begun"
    assert stage.newest.accepts
    await end(stage)


async def test_one_that_dies_while_its_successor_fails_comes_back_in_its_own_release(folder: Path, port: int) -> None:
    stage = await started(folder, port)
    stage.next = lambda played: asyncio.get_running_loop().call_later(10.0, played.fails) and None
    exchange = asyncio.create_task(stage.server.exchange(stage.new))
    await asyncio.sleep(5)
    stage.played[0].process.die()
    await soon()
    stage.next_boots()
    with pytest.raises(StartError):
        await exchange
    await asyncio.sleep(5)
    assert stage.server.state is State.RUNNING
    assert stage.released[-1] is stage.old
    await end(stage)


async def test_a_stop_while_it_goes_back_leaves_nothing(folder: Path, port: int) -> None:
    stage = await started(folder, port)
    former = stage.newest
    await stage.server.exchange(stage.new)
    former.call.hears = False
    stage.newest.process.die()
    await asyncio.sleep(PROMPT / 2)
    assert stage.server.state is State.GOING_BACK
    await end(stage)


async def test_an_exchange_that_is_cancelled_leaves_the_former_one_serving(folder: Path, port: int) -> None:
    stage = await started(folder, port)
    former = stage.newest
    stage.next_boots(10.0)
    exchange = asyncio.create_task(stage.server.exchange(stage.new))
    await asyncio.sleep(5)
    exchange.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange
    assert stage.server.state is State.RUNNING
    assert stage.server.release is stage.old
    assert stage.pids() == {former.process.pid}
    await end(stage)


async def test_going_back_with_a_closed_line_does_not_leave_a_socket_that_nobody_reads(folder: Path, port: int) -> None:
    stage = await started(folder, port)
    former = stage.newest
    await stage.server.exchange(stage.new)
    former.call.hang_up()
    await stage.server.go_back()
    assert stage.server.state is State.RUNNING
    assert stage.newest.accepts, "another process of the former release"
    assert stage.released[-1] is stage.old
    former.process.die()
    await end(stage)


async def test_every_transition_is_written_to_the_log(
    folder: Path, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    stage = await started(folder, port)
    await end(stage)
    assert [message for message in caplog.messages if ", now " in message] == [
        "Server 1: stopped, now starting",
        "Server 1: starting, now running",
        "Server 1: running, now stopping",
        "Server 1: stopping, now stopped",
    ]


async def test_a_transition_that_there_is_not_is_refused(folder: Path, port: int) -> None:
    stage = Stage(folder, port)
    with pytest.raises(RuntimeError, match="Server 1 cannot become exchanged: it is stopped"):
        stage.server._become(State.EXCHANGED)
