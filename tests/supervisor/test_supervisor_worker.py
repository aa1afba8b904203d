"""A process on the line: what is waited for comes, or why it does not is told at once; and a visit to its own port."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeCall, Played, soon

from zenwebserver.errors import ZenwebserverError
from zenwebserver.supervisor.line.probe import probe
from zenwebserver.supervisor.line.worker import (
    END_SECONDS,
    LAST_CALL_SECONDS,
    STACKS_SECONDS,
    TAIL_LINES,
    StartError,
    Worker,
    tail,
)
from zenwebserver.worker.messages import Figures, Order, OrderName, Standing, ThreadNow, WorkerState


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "zope1.log"


def now() -> float:
    return asyncio.get_running_loop().time()


def later(seconds: float, what: Callable[..., object], *arguments: object) -> None:
    asyncio.get_running_loop().call_later(seconds, what, *arguments)


# Until it stands so.


async def test_who_waits_goes_on_when_it_says_so(log: Path) -> None:
    played, began = Played(log), now()
    played.boots(5.0)
    await played.worker.until(WorkerState.READY, 10.0)
    assert now() - began == 5.0
    await played.worker.until(WorkerState.READY, 10.0)
    assert now() - began == 5.0, "it stands so already"


async def test_what_it_said_meanwhile_is_not_missed_though_it_said_something_else_at_once(log: Path) -> None:
    played, began = Played(log), now()

    def rests_and_serves_again() -> None:
        for state in (WorkerState.RESTING, WorkerState.SERVING):
            played.call.hear(replace(played.call.standing, state=state))

    later(5.0, rests_and_serves_again)
    await played.worker.until(WorkerState.RESTING, 100.0)
    assert now() - began == 5.0
    with pytest.raises(StartError, match="was not resting after 1 s"):
        await played.worker.until(WorkerState.RESTING, 1.0)
    played.process.die()


async def test_two_wait_at_once_for_the_same_and_for_different_states(log: Path) -> None:
    played, reached = Played(log), list[str]()

    async def reach(name: str, state: WorkerState) -> None:
        await played.worker.until(state, 100.0)
        reached.append(name)

    waiting = asyncio.gather(
        reach("a", WorkerState.READY), reach("b", WorkerState.READY), reach("c", WorkerState.SERVING)
    )
    await asyncio.sleep(1)
    played.call.says(WorkerState.READY)
    await soon()
    assert reached == ["a", "b"]
    played.call.says(WorkerState.SERVING)
    await waiting
    assert reached == ["a", "b", "c"]


async def test_one_that_fails_is_told_by_the_last_line_of_its_traceback(log: Path) -> None:
    played = Played(log)
    traceback = 'Traceback (most recent call last):\n  File "x.py", line 1\nValueError: broken\n  in two lines\n\n'
    later(3.0, played.fails, traceback)
    with pytest.raises(StartError) as caught:
        await played.worker.until(WorkerState.READY, 100.0)
    assert caught.value.message == "ended with exit code 1: ValueError: broken"
    assert caught.value.detail == traceback.rstrip()


async def test_one_that_says_that_it_failed_but_does_not_end_is_not_waited_for_until_its_time_is_over(
    log: Path,
) -> None:
    played, began = Played(log), now()
    played.call.says(WorkerState.FAILED, "Traceback\nValueError: broken")
    with pytest.raises(StartError, match=r"^failed: ValueError: broken$"):
        await played.worker.until(WorkerState.READY, 300.0)
    assert now() - began == pytest.approx(END_SECONDS)


async def test_one_that_is_killed_is_told_by_how_it_ended_and_by_the_end_of_its_log(log: Path) -> None:
    log.write_text("of an earlier process\n")
    played = Played(log)
    with log.open("a") as file:
        file.write("one\ntwo\n")
    later(3.0, played.process.die, "was killed by SIGSEGV")
    with pytest.raises(StartError) as caught:
        await played.worker.until(WorkerState.READY, 100.0)
    assert caught.value.message == "was killed by SIGSEGV"
    assert caught.value.detail == "one\ntwo"


async def test_two_who_wait_for_one_that_is_gone_are_both_told(log: Path) -> None:
    played = Played(log)
    later(3.0, played.process.die)
    results = await asyncio.gather(
        *(played.worker.until(state, 100.0) for state in (WorkerState.READY, WorkerState.SERVING)),
        return_exceptions=True,
    )
    assert [str(result) for result in results] == ["was killed by SIGKILL"] * 2


async def test_one_that_takes_too_long_writes_its_stacks_first(log: Path) -> None:
    log.write_text("before\n")
    played, began = Played(log), now()
    later(20.0 + STACKS_SECONDS / 2, lambda: log.write_text("before\nThread 0x1 in read_from_a_dead_host\n"))
    with pytest.raises(StartError, match=r"^was not ready after 20 s$") as caught:
        await played.worker.until(WorkerState.READY, 20.0)
    assert now() - began == pytest.approx(20.0 + STACKS_SECONDS)
    assert played.process.signals == [signal.SIGUSR1]
    assert caught.value.detail == "Thread 0x1 in read_from_a_dead_host"


async def test_why_it_ended_is_known_though_its_last_call_comes_after_its_end(log: Path) -> None:
    played = Played(log)
    later(1.0, played.process.die, "ended with exit code 1")
    failed = replace(played.call.standing, state=WorkerState.FAILED, reason="Traceback\nValueError: broken")
    last = FakeCall(played.process, replace(failed, state=WorkerState.STARTING, reason=""))
    later(1.0 + LAST_CALL_SECONDS / 3, played.worker.answer, last)  # the first line of it, then the second
    later(1.0 + LAST_CALL_SECONDS / 2, last.hear, failed)
    with pytest.raises(StartError, match=r"^ended with exit code 1: ValueError: broken$"):
        await played.worker.until(WorkerState.READY, 100.0)


async def test_a_last_call_that_never_comes_is_not_waited_for_long(log: Path) -> None:
    played, began = Played(log), now()
    later(1.0, played.process.die)
    with pytest.raises(StartError):
        await played.worker.until(WorkerState.READY, 100.0)
    assert now() - began == pytest.approx(1.0 + LAST_CALL_SECONDS)


# What it says.


async def test_when_it_was_heard_last_is_known_and_silence_can_be_forgiven(log: Path) -> None:
    played = Played(log)
    await asyncio.sleep(40)
    assert played.worker.heard_at == now() - 40
    played.call.says(WorkerState.SERVING)
    await soon()
    assert played.worker.heard_at == pytest.approx(now(), abs=0.01)
    await asyncio.sleep(40)
    played.worker.forgive_silence()
    assert played.worker.heard_at == now()


async def test_its_figures_stay_when_it_says_something_else(log: Path) -> None:
    played = Played(log)
    played.call.hear(replace(played.call.standing, state=WorkerState.SERVING, figures=Figures(requests=7)))
    played.call.hear(replace(played.call.standing, state=WorkerState.RESTING, figures=None))
    assert played.worker.figures.requests == 7
    assert played.worker.state is WorkerState.RESTING


async def test_one_that_calls_again_is_heard_on_its_new_line_alone(log: Path) -> None:
    played, heard = Played(log), list[WorkerState]()
    played.worker.hears = lambda standing: heard.append(standing.state)
    again = FakeCall(played.process, replace(played.call.standing, state=WorkerState.SERVING))
    played.worker.answer(again)
    played.call.hear(replace(played.call.standing, state=WorkerState.RESTING))  # it was on its way on the old one
    assert played.worker.state is WorkerState.SERVING
    again.hear(replace(again.standing, state=WorkerState.LEAVING))
    assert heard == [WorkerState.SERVING, WorkerState.LEAVING]
    played.worker.order(OrderName.REST)
    assert (played.call.orders, again.orders) == ([], [OrderName.REST])


async def test_one_that_is_gone_is_gone_whatever_it_said_last(log: Path) -> None:
    played = Played(log)
    played.call.hear(replace(played.call.standing, state=WorkerState.SERVING))
    played.process.die()
    assert played.worker.state is WorkerState.GONE


async def test_one_that_never_called_cannot_be_told_anything(log: Path) -> None:
    worker = Worker("token", log)
    assert not worker.order(OrderName.LEAVE)
    assert worker.take_listener() is None


# What its threads do.


class Talkative(FakeCall):
    """It says after a second what its threads do."""

    asked = 0

    def obey(self, order: Order, _: object) -> None:
        if order.order is OrderName.THREADS:
            self.asked += 1
            answer = replace(self.standing, threads=(ThreadNow("waitress-0", f"GET /{self.asked}"),))
            later(1.0, self.hear, answer)


def talkative(played: Played) -> Talkative:
    call = Talkative(played.process, Standing(WorkerState.SERVING, token=played.worker.token))
    played.worker.answer(call)
    return call


async def test_its_threads_are_told_to_two_who_ask_at_once_and_anew_to_the_next(log: Path) -> None:
    played = Played(log)
    talkative(played)
    first, second = await asyncio.gather(played.worker.threads(5.0), played.worker.threads(5.0))
    assert first == second
    await asyncio.sleep(2)
    (thread,) = await played.worker.threads(5.0)
    assert thread.request == "GET /3"


async def test_one_who_is_too_impatient_does_not_take_the_answer_from_the_other(log: Path) -> None:
    played = Played(log)
    talkative(played)
    impatient, patient = await asyncio.gather(
        played.worker.threads(0.5), played.worker.threads(5.0), return_exceptions=True
    )
    assert isinstance(impatient, ZenwebserverError)
    assert isinstance(patient, tuple)


async def test_one_that_does_not_say_what_its_threads_do_is_told_with_what_else_can_be_done(log: Path) -> None:
    played = Played(log)
    with pytest.raises(ZenwebserverError, match="does not answer within 5 s") as caught:
        await played.worker.threads(5.0)
    assert f"kill -USR1 {played.process.pid}" in caught.value.hint
    assert str(log) in caught.value.hint
    talkative(played)
    assert await played.worker.threads(5.0), "and can be asked again"


# Its log.


def test_the_last_lines_of_a_log_are_few(log: Path) -> None:
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    assert tail(log).splitlines() == [f"line {number}" for number in range(100 - TAIL_LINES, 100)]


def test_a_log_that_is_not_there_has_no_last_lines(log: Path) -> None:
    assert tail(log) == ""


def test_of_a_long_log_only_the_end_is_read_and_bytes_that_are_no_text_are_shown_somehow(log: Path) -> None:
    log.write_bytes(b"x" * 100_000 + b"\nG\xfcrzburg\nlast\n")
    assert tail(log).splitlines()[-2:] == ["G\ufffdrzburg", "last"]
    assert len(tail(log)) <= 16 * 1024


# A visit to its own port.


async def visited(what: bytes | None) -> int:
    """The status of a server that answers `what`, or waits until its visitor loses patience."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(what if what is not None else await reader.read())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        try:
            return await probe(server.sockets[0].getsockname(), 10.0)
        finally:
            await soon()


@pytest.mark.parametrize("status", [200, 302, 404, 500])
async def test_a_visit_tells_the_status(status: int) -> None:
    assert await visited(b"HTTP/1.1 %d What\r\nContent-Length: 200000\r\n\r\n" % status + b"x" * 200_000) == status


async def test_a_connection_that_is_closed_without_an_answer_is_told() -> None:
    with pytest.raises(ConnectionError, match="closed without an answer"):
        await visited(b"")


@pytest.mark.parametrize("what", [b"SSH-2.0 12\r\n", b"220 mail 250\r\n", b"HTTP/1.1 OK\r\n", b"HTTP/1.1\r\n", b"\r\n"])
async def test_what_is_no_http_is_told(what: bytes) -> None:
    with pytest.raises(ConnectionError, match="no HTTP"):
        await visited(what)


async def test_an_answer_that_is_one_line_without_end_is_told() -> None:
    with pytest.raises(ConnectionError):
        await visited(b"x" * 1_000_000)


async def test_an_answer_that_takes_too_long_is_told() -> None:
    began = now()
    with pytest.raises(TimeoutError):
        await visited(None)
    assert now() - began == pytest.approx(10.0, abs=0.1)


async def test_a_port_where_nobody_listens_is_told() -> None:
    server = await asyncio.start_server(lambda _, __: None, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    server.close()
    await server.wait_closed()
    with pytest.raises(ConnectionRefusedError):
        await probe(address, 10.0)
