"""The one lock for changes: who has it, who waits and knows for whom, and that it is given back whatever happens."""

from __future__ import annotations

import asyncio

import pytest
from fakes import soon

from zenwebserver.supervisor.changes import Changes, NotBegun


class Hall:
    """Changes that are made, in the order in which they begin and end."""

    def __init__(self) -> None:
        self.changes = Changes()
        self.seen: list[str] = []
        self.waits: dict[str, list[str]] = {}

    def make(self, what: str, seconds: float = 10.0, *, fails: bool = False) -> asyncio.Task[None]:
        return asyncio.create_task(self._make(what, seconds, fails), name=what)

    async def _make(self, what: str, seconds: float, fails: bool) -> None:
        async with self.changes.make(what, self.waits.setdefault(what, []).append):
            self.seen.append(f"+{what}")
            try:
                await asyncio.sleep(seconds)
                if fails:
                    raise ValueError(what)
            finally:
                self.seen.append(f"-{what}")


async def is_free(changes: Changes) -> bool:
    """Nobody has it, nobody waits, and it can be had at once."""
    if not changes.idle or changes.current:
        return False
    async with asyncio.timeout(1), changes.make("another"):
        return changes.current == "another" and not changes.idle


async def test_one_at_a_time_in_the_order_in_which_they_came() -> None:
    hall = Hall()
    await asyncio.gather(*map(hall.make, ("start", "deploy", "stop")))
    assert hall.seen == ["+start", "-start", "+deploy", "-deploy", "+stop", "-stop"]
    assert await is_free(hall.changes)


async def test_who_waits_is_told_for_what_and_who_need_not_wait_is_told_nothing() -> None:
    hall = Hall()
    first = hall.make("deploy +1")
    await soon()
    assert hall.changes.current == "deploy +1"
    second = hall.make("stop")
    await soon()
    assert hall.waits == {"deploy +1": [], "stop": ["deploy +1"]}
    await asyncio.gather(first, second)
    assert await is_free(hall.changes)


async def test_it_is_not_idle_while_somebody_changes_something_or_waits_to() -> None:
    changes = Changes()
    assert changes.idle
    hall = Hall()
    hall.changes = changes
    first = hall.make("stop", 10.0)
    await soon()
    second = hall.make("start", 10.0)
    for _ in range(4):
        await asyncio.sleep(4)
        assert not changes.idle
    await asyncio.gather(first, second)
    assert changes.idle


async def test_between_the_end_of_one_and_the_begin_of_the_next_it_is_not_idle() -> None:
    hall = Hall()
    idle = list[bool]()
    first = hall.make("stop", 10.0)
    first.add_done_callback(lambda _: idle.append(hall.changes.idle))
    await soon()
    await asyncio.gather(first, hall.make("start", 10.0))
    assert idle == [False], "the supervisor must not end with a waiter in its lock"


async def test_what_is_finished_lets_the_next_one_in_and_its_end_releases_nothing_of_it() -> None:
    changes = Changes()
    seen = list[str]()

    async def finishes_early() -> None:
        async with changes.make("detach 1"):
            await asyncio.sleep(1)
            changes.finish()
            assert not changes.idle, "it goes on, though it holds nothing"
            await asyncio.sleep(10)
        seen.append(f"detach ended, {changes.current}")

    first = asyncio.create_task(finishes_early())
    await soon()
    second, third = Hall(), Hall()
    second.changes = third.changes = changes
    second.seen = third.seen = seen
    others = [second.make("deploy", 20.0)]
    await asyncio.sleep(2)
    assert changes.current == "deploy"
    others.append(third.make("stop", 5.0))
    await asyncio.gather(first, *others)
    assert seen == ["+deploy", "detach ended, deploy", "-deploy", "+stop", "-stop"]
    assert await is_free(changes)


async def test_what_is_given_up_lets_others_in_and_is_taken_back() -> None:
    hall = Hall()
    changes = hall.changes

    async def gives_up() -> None:
        async with changes.make("stop 2") as change:
            async with changes.given_up():
                hall.seen.append("given up")
                await asyncio.sleep(5)
            hall.seen.append("taken back")
            assert changes.holder is change
            await asyncio.sleep(5)

    first = asyncio.create_task(gives_up())
    await soon()
    assert not changes.current
    second = hall.make("start", 20.0)
    await asyncio.sleep(21)
    third = hall.make("deploy", 1.0)
    await asyncio.gather(first, second, third)
    assert hall.seen == ["given up", "+start", "-start", "taken back", "+deploy", "-deploy"]
    assert hall.waits["deploy"] == ["stop 2"]
    assert await is_free(changes)


async def test_an_error_releases_it_once_wherever_it_comes() -> None:
    for finished in (False, True):
        hall = Hall()

        async def fails(hall: Hall = hall, finished: bool = finished) -> None:
            async with hall.changes.make("restart"):
                if finished:
                    hall.changes.finish()
                await asyncio.sleep(1)
                raise ValueError("broken")

        first = asyncio.create_task(fails())
        await soon()
        others = [hall.make("deploy", 10.0), hall.make("stop", 10.0)]
        with pytest.raises(ValueError, match="broken"):
            await first
        await asyncio.gather(*others)
        assert hall.seen == ["+deploy", "-deploy", "+stop", "-stop"]
        assert await is_free(hall.changes)


async def test_an_error_while_it_is_given_up_takes_it_back_first() -> None:
    hall = Hall()

    async def fails() -> None:
        async with hall.changes.make("stop 2"):
            try:
                async with hall.changes.given_up():
                    await asyncio.sleep(5)
                    raise ValueError("broken")
            finally:
                hall.seen.append(hall.changes.current)

    first = asyncio.create_task(fails())
    await soon()
    second = hall.make("deploy", 20.0)
    with pytest.raises(ValueError, match="broken"):
        await first
    assert second.done()
    assert hall.seen == ["+deploy", "-deploy", "stop 2"]
    assert await is_free(hall.changes)


@pytest.mark.parametrize("second", range(0, 36, 2))
async def test_a_change_can_be_cut_off_at_any_time_and_the_others_go_on(second: int) -> None:
    """It waits until 10, has it until 14, has given it up until 18, waits for it again until 24, has it until 28, and
    has finished then."""
    changes = Changes()
    hall = Hall()
    hall.changes = changes
    others = [hall.make("first", 10.0)]
    await soon()

    async def long_one() -> None:
        async with changes.make("long"):
            await asyncio.sleep(4)
            async with changes.given_up():
                await asyncio.sleep(4)
            await asyncio.sleep(4)
            changes.finish()
            await asyncio.sleep(4)

    cut_off = asyncio.create_task(long_one())
    await soon()
    others.append(hall.make("second", 10.0))
    await asyncio.sleep(second + 0.5)
    cut_off.cancel()
    others.append(hall.make("third", 10.0))
    await asyncio.gather(cut_off, *others, return_exceptions=True)
    assert hall.seen == ["+first", "-first", "+second", "-second", "+third", "-third"]
    assert await is_free(changes)


async def test_one_that_is_cut_off_at_the_moment_in_which_it_is_its_turn_passes_it_on() -> None:
    hall = Hall()
    first, second, third = (hall.make(what) for what in ("first", "second", "third"))
    await soon()
    first.cancel()
    second.cancel()
    await asyncio.gather(first, second, third, return_exceptions=True)
    assert hall.seen == ["+first", "-first", "+third", "-third"]
    assert await is_free(hall.changes)


async def test_once_they_are_closed_nobody_who_waits_or_comes_begins_and_each_is_told_so() -> None:
    changes = Changes()
    told = list[str]()

    async def asks(what: str) -> None:
        try:
            async with changes.make(what):
                told.append(f"{what} began")
        except NotBegun:
            told.append(f"{what} did not")

    async with changes.make("upgrade"):
        waiting = [asyncio.create_task(asks(what)) for what in ("start", "stop")]
        await soon()
        changes.close()
        waiting[1].cancel()
        await soon()
    await asyncio.gather(*waiting, asks("deploy"))
    assert told == ["stop did not", "start did not", "deploy did not"]
    assert changes.idle
    assert not changes.current
