"""Tasks: none ends unheard, and what must not end is begun again."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from fakes import soon

from zenwebserver.supervisor.tasks import PAUSE_SECONDS, Tasks


async def test_a_kept_task_that_raises_is_logged_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    tasks, rounds = Tasks(), list[float]()

    async def watch() -> None:
        rounds.append(asyncio.get_running_loop().time())
        if len(rounds) < 3:
            raise ValueError("a wrong report")
        await asyncio.sleep(1000)

    tasks.keep("The watch", watch)
    await asyncio.sleep(100)
    assert [late - early for early, late in itertools.pairwise(rounds)] == [PAUSE_SECONDS] * 2
    assert caplog.text.count("The watch failed, and goes on") == 2
    assert caplog.text.count("ValueError: a wrong report") == 2, "with its traceback"
    await tasks.end()


async def test_a_kept_task_that_returns_is_logged_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    tasks, rounds = Tasks(), 0

    async def watch() -> None:
        nonlocal rounds
        rounds += 1

    tasks.keep("The watch", watch)
    await asyncio.sleep(3 * PAUSE_SECONDS)
    assert rounds >= 3
    assert "The watch ended, and is begun again" in caplog.text
    await tasks.end()


async def test_a_kept_task_goes_on_where_what_it_waits_for_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    tasks, rounds = Tasks(), 0

    async def watch() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            other = asyncio.create_task(asyncio.sleep(1000))
            other.cancel()
            await other
        await asyncio.sleep(1000)

    task = tasks.keep("The watch", watch)
    await asyncio.sleep(10)
    assert rounds == 2
    assert "The watch failed, and goes on" in caplog.text
    task.cancel()
    await soon()
    assert task.cancelled(), "it ends where it is cancelled itself"


async def test_a_kept_task_can_be_ended_while_it_pauses() -> None:
    tasks = Tasks()

    async def watch() -> None:
        raise ValueError

    task = tasks.keep("The watch", watch)
    await soon()
    await tasks.end()
    assert task.cancelled()


async def test_a_defect_in_what_is_done_once_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise TypeError("a defect")

    task = Tasks().do("The recovery", work())
    await soon()
    assert isinstance(task.exception(), TypeError)
    (record,) = caplog.records
    assert record.levelname == "CRITICAL"
    assert record.getMessage() == "The recovery failed, which is a defect"
    assert record.exc_info
    assert record.exc_info[1] is task.exception()


async def test_what_is_done_once_returns_its_result_and_is_cancelled_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks = Tasks()
    assert await tasks.do("Work", asyncio.sleep(1, "done")) == "done"
    task = tasks.do("Work", asyncio.sleep(1000))
    await soon()
    task.cancel()
    await soon()
    assert task.cancelled()
    assert not caplog.records


async def test_the_end_ends_all_of_them_also_what_they_begin_while_they_are_cancelled() -> None:
    tasks, ended = Tasks(), list[str]()

    async def last() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append("last")

    async def first() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            tasks.do("The last", last())
            await asyncio.sleep(1)  # it has to finish something
            ended.append("first")

    tasks.do("The first", first())
    await soon()
    await tasks.end()
    assert ended == ["first", "last"]
    assert {task.get_name() for task in asyncio.all_tasks()} == {"the test"}


async def test_a_task_that_ends_all_tasks_is_not_ended_by_itself() -> None:
    tasks = Tasks()
    other = tasks.do("Another", asyncio.sleep(1000))
    await tasks.do("The end", tasks.end())
    assert other.cancelled()
