"""Processes that leave: they finish what they have accepted, and only what cannot is cut off."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from fakes import FakeCall, Played, soon

from zenwebserver.supervisor.line.worker import STACKS_SECONDS
from zenwebserver.supervisor.parts.leaving import END_SECONDS, HEAR_SECONDS, Leaving
from zenwebserver.supervisor.tasks import Tasks
from zenwebserver.worker.messages import OrderName, WorkerState


class Stage:
    """Who leaves, and how often it was told that one has left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.left = 0
        self.then: list[int] = []  # how many were still leaving each time
        self.leaving = Leaving("Server 1", Tasks(), self._has_left)
        self.leaving.drain_timeout = 60.0

    def _has_left(self) -> None:
        self.left += 1
        self.then.append(len(self.leaving))

    def add(self, *, leave_seconds: float = 0.0, hears: bool = True) -> Played:
        played = Played(self.folder / "zope1.log")
        played.call.leave_seconds = leave_seconds
        played.call.hears = hears
        self.leaving.add(played.worker)
        return played


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_one_that_leaves_is_told_its_time_and_is_known_until_it_has_ended(folder: Path) -> None:
    stage = Stage(folder)
    played = stage.add(leave_seconds=20.0)
    (order,) = played.call.told
    assert (order.order, order.timeout) == (OrderName.LEAVE, 60.0)
    await asyncio.sleep(19)
    assert list(stage.leaving) == [played.worker]
    assert stage.left == 0
    await asyncio.sleep(2)
    assert len(stage.leaving) == 0
    assert stage.left == 1
    assert played.process.signals == []


async def test_one_that_is_not_done_in_its_time_is_killed(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(folder)
    played = stage.add(leave_seconds=10_000.0)
    await asyncio.sleep(60.0 + END_SECONDS - 1)
    assert played.process.running
    await asyncio.sleep(2)
    assert played.process.signals == [signal.SIGKILL]
    assert stage.left == 1
    assert f"Server 1, pid {played.process.pid}, did not leave in time and is killed" in caplog.text


async def test_one_that_does_not_hear_writes_its_stacks_and_is_killed(folder: Path) -> None:
    stage, began = Stage(folder), now()
    played = stage.add(hears=False)
    await stage.leaving.end()
    assert now() - began == pytest.approx(HEAR_SECONDS + STACKS_SECONDS)
    assert played.process.signals == [signal.SIGUSR1, signal.SIGKILL]
    assert stage.left == 1


async def test_one_that_ends_at_once_has_left_and_nothing_is_killed(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(folder)
    played = stage.add(hears=False)
    played.process.die()
    await stage.leaving.end()
    assert stage.left == 1
    assert played.process.signals == []
    assert not caplog.records


async def test_one_whose_line_is_broken_is_told_when_it_calls_again(folder: Path) -> None:
    stage = Stage(folder)
    played = Played(folder / "zope1.log")
    played.call.hang_up()
    stage.leaving.add(played.worker)
    await asyncio.sleep(1)
    assert played.call.told == []
    again = FakeCall(played.process, played.call.standing)
    again.leave_seconds = HEAR_SECONDS + 10
    played.worker.answer(again)
    await soon()
    assert again.orders == [OrderName.LEAVE]
    again.says(WorkerState.LEAVING)
    await stage.leaving.end()
    assert again.orders == [OrderName.LEAVE], "once is enough"
    assert played.process.signals == [], "it finished what it had"


async def test_several_leave_at_once_and_the_end_waits_for_all_also_those_that_come_later(folder: Path) -> None:
    stage = Stage(folder)
    first, second = stage.add(leave_seconds=10.0), stage.add(leave_seconds=20.0)
    end = asyncio.create_task(stage.leaving.end())
    await asyncio.sleep(15)
    assert (first.process.running, second.process.running, len(stage.leaving)) == (False, True, 1)
    third = stage.add(leave_seconds=20.0)
    await asyncio.sleep(10)
    assert not end.done()
    await end
    assert not third.process.running
    assert stage.left == 3
    assert stage.then == [1, 1, 0], "whoever is told finds it gone"


async def test_where_nobody_leaves_the_end_is_there_at_once(folder: Path) -> None:
    began = now()
    await Stage(folder).leaving.end()
    assert now() == began
