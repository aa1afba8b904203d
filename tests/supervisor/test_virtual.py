"""Virtual time: waiting takes none, a hang is told at once, and nothing that goes wrong is overlooked."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest
import virtual


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_an_hour_takes_no_time() -> None:
    began, really = now(), time.monotonic()
    await asyncio.sleep(3600)
    assert now() - began == pytest.approx(3600)
    assert time.monotonic() - really < 60


async def test_timers_go_off_in_their_order_and_at_their_time() -> None:
    began, seen = now(), list[tuple[str, float]]()

    async def ring(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((name, round(now() - began, 6)))

    await asyncio.gather(ring("late", 30), ring("soon", 0.1), ring("later", 3000), ring("between", 2))
    assert seen == [("soon", 0.1), ("between", 2), ("late", 30), ("later", 3000)]


async def test_all_that_can_happen_now_happens_before_the_clock_moves() -> None:
    left, right = socket.socketpair()
    with left, right:
        for end in (left, right):
            end.setblocking(False)
        loop, began = asyncio.get_running_loop(), now()

        async def echo() -> None:
            while received := await loop.sock_recv(right, 100):
                await loop.sock_sendall(right, received)

        echoing = loop.create_task(echo())
        async with asyncio.timeout(1):
            for turn in range(100):
                await loop.sock_sendall(left, b"%d" % turn)
                assert await loop.sock_recv(left, 100) == b"%d" % turn
        assert now() == began
        left.shutdown(socket.SHUT_WR)
        await echoing


async def test_a_connection_over_tcp_is_made_before_its_time_limit() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"good morning")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        for _ in range(20):
            async with asyncio.timeout(0.001):
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                assert await reader.read() == b"good morning"
            writer.close()
            await writer.wait_closed()


async def test_the_clock_stands_still_while_a_thread_works() -> None:
    async with asyncio.timeout(0.01):
        await asyncio.to_thread(time.sleep, 0.1)


async def test_what_takes_too_long_is_cut_off() -> None:
    began = now()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), 300)
    assert now() - began == pytest.approx(300)


def test_a_hang_is_told_at_once_with_the_tasks_that_wait() -> None:
    async def wait_for_ever() -> None:
        await asyncio.Event().wait()

    async def test() -> None:
        await asyncio.sleep(5)
        await asyncio.create_task(wait_for_ever(), name="the other")

    with pytest.raises(virtual.HangError, match=r"hangs.*At 5 s.*'the other' in .*wait_for_ever.*'the test'"):
        virtual.run(test())


def test_who_looks_again_and_again_while_the_test_waits_does_not_go_on_for_ever() -> None:
    async def look() -> None:
        while True:
            await asyncio.sleep(60)

    async def test() -> None:
        looking = asyncio.create_task(look())
        await asyncio.Event().wait()
        looking.cancel()

    with pytest.raises(virtual.HangError, match="for ever"):
        virtual.run(test())


def test_who_tries_again_without_a_pause_is_told() -> None:
    left, right = socket.socketpair()
    with left, right:

        async def test() -> None:
            asyncio.get_running_loop().add_reader(right, lambda: None)  # never reads
            left.send(b"!")
            await asyncio.sleep(1)

        with pytest.raises(virtual.HangError, match="round and round"):
            virtual.run(test())


def test_tasks_that_a_test_leaves_fail_it_by_their_names() -> None:
    ended = list[str]()

    async def work() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(1)
            ended.append("tidied up")

    async def test() -> None:
        test.task = asyncio.create_task(work(), name="looking after it")  # type: ignore[attr-defined]
        await asyncio.sleep(1)

    with pytest.raises(AssertionError, match="looking after it"):
        virtual.run(test())
    assert ended == ["tidied up"]


async def test_a_task_that_was_cancelled_is_not_left() -> None:
    asyncio.create_task(asyncio.sleep(10)).cancel()


async def fail() -> None:
    raise ValueError("unheard")


@pytest.mark.parametrize("kept", [True, False])
def test_an_exception_of_a_task_that_nobody_looks_at_fails_the_test(kept: bool) -> None:
    tasks = list[asyncio.Task[None]]()

    async def test() -> None:
        task = asyncio.create_task(fail(), name="failing")
        if kept:
            tasks.append(task)
        await asyncio.sleep(1)

    with pytest.raises(BaseExceptionGroup) as found:
        virtual.run(test())
    assert [str(error) for error in found.value.exceptions] == ["unheard"]


def test_a_future_and_a_callback_that_fail_where_nobody_looks_fail_the_test() -> None:
    def call() -> None:
        raise KeyError("callback")

    async def test() -> None:
        loop = asyncio.get_running_loop()
        loop.create_future().set_exception(ValueError("future"))
        loop.call_later(1, call)
        await asyncio.sleep(2)

    with pytest.raises(BaseExceptionGroup) as found:
        virtual.run(test())
    assert sorted(type(error).__name__ for error in found.value.exceptions) == ["KeyError", "ValueError"]


async def test_an_exception_that_somebody_looks_at_is_heard() -> None:
    results = await asyncio.gather(fail(), return_exceptions=True)
    assert [str(result) for result in results] == ["unheard"]


def test_the_tests_own_exception_is_what_is_raised() -> None:
    async def test() -> None:
        task = asyncio.create_task(fail())
        await asyncio.sleep(1)
        raise LookupError("mine")
        del task

    with pytest.raises(LookupError, match="mine") as found:
        virtual.run(test())
    assert any("unheard" in note for note in found.value.__notes__)


async def test_generators_are_closed() -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1
        yield 2

    async for number in numbers():
        assert number == 1
        break
