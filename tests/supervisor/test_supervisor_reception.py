"""Calls find the worker that is expected, by the token of its order; whoever is nobody's is sent away."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeCall, FakeProcess, descriptors, soon

from zenwebserver.supervisor.line.reception import Reception
from zenwebserver.supervisor.line.switchboard import Call, Switchboard
from zenwebserver.supervisor.line.worker import LAST_CALL_SECONDS
from zenwebserver.supervisor.tasks import Tasks
from zenwebserver.worker.messages import VERSION, OrderName, Standing, WorkerState, encode


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "zope1.log"


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def opened() -> Reception:
    """One that has nothing to adopt any more."""
    reception = Reception()
    reception.adopted()
    return reception


def calling(token: str, state: WorkerState = WorkerState.SERVING, listener: socket.socket | None = None) -> FakeCall:
    """A server that calls."""
    standing = Standing(state, token=token, server="1", version=VERSION)
    return FakeCall(FakeProcess(), standing, listener and listener.dup())


async def test_a_process_of_another_home_is_told_nothing_and_keeps_its_socket(
    log: Path, listening: socket.socket
) -> None:
    reception = Reception(is_ours=lambda _: False)
    for adopted in (False, True):
        if adopted:
            reception.adopted()
        call = calling("another's", listener=listening)
        zygote = calling("another's zygote")
        zygote.standing = replace(zygote.standing, zygote="1")
        for each in (call, zygote):
            reception.answer(each)
        assert reception.waiting() == []
        assert call.orders == zygote.orders == []
        assert call.open
        assert call.listener is None, "what it passed is not listened on here"
        assert zygote.process.running
    worker = reception.expect(log)
    known = calling(worker.token, WorkerState.READY)
    reception.answer(known)
    assert worker.standing.state is WorkerState.READY


# Who is expected.


async def test_what_is_said_before_its_process_is_known_is_not_lost(log: Path) -> None:
    reception = opened()
    worker = reception.expect(log)
    call = calling(worker.token, WorkerState.READY)
    reception.answer(call)
    await asyncio.sleep(2)
    assert reception.born(worker, call.process) is worker
    began = asyncio.get_running_loop().time()
    await worker.until(WorkerState.READY, 300.0)
    assert asyncio.get_running_loop().time() == began
    assert worker.order(OrderName.LEAVE)
    assert call.orders == [OrderName.LEAVE]


async def test_each_is_known_by_its_own_token_whatever_its_pid(log: Path) -> None:
    reception = opened()
    first, second = reception.expect(log), reception.expect(log)
    assert first.token != second.token
    process = FakeProcess()
    for worker, state in ((second, WorkerState.READY), (first, WorkerState.STARTING)):
        reception.answer(FakeCall(process, Standing(state, token=worker.token)))
        reception.born(worker, process)
    assert (first.state, second.state) == (WorkerState.STARTING, WorkerState.READY)


async def test_what_it_says_right_before_its_end_is_heard_after_it_and_nothing_later(log: Path) -> None:
    reception = opened()
    worker = reception.expect(log)
    reception.born(worker, process := FakeProcess())
    process.die("ended with exit code 1")
    await asyncio.sleep(LAST_CALL_SECONDS / 2)
    reception.answer(calling(worker.token, WorkerState.FAILED))
    assert worker.standing.state is WorkerState.FAILED
    await asyncio.sleep(LAST_CALL_SECONDS)
    late = calling(worker.token, WorkerState.LEAVING)
    reception.answer(late)
    assert late.orders == [OrderName.LEAVE], "it is nobody's"
    assert worker.standing.state is WorkerState.FAILED


async def test_a_worker_that_calls_again_keeps_its_state_and_the_listener_that_it_passes_again_is_closed(
    log: Path, tmp_path: Path, listening: socket.socket
) -> None:
    reception, tasks = opened(), Tasks()
    switchboard = Switchboard(tmp_path / "workers.sock", reception.answer, tasks)
    switchboard.open()
    worker = reception.expect(log)
    reception.born(worker, FakeProcess())
    before = descriptors()
    for _ in range(3):
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(tmp_path / "workers.sock"))
            standing = Standing(WorkerState.SERVING, token=worker.token, version=VERSION)
            socket.send_fds(caller, [encode(standing)], [listening.fileno()])
            await soon()
            assert worker.state is WorkerState.SERVING
            assert descriptors() == before + 2, "the two ends of the call"
            assert worker.order(OrderName.REST)
        await soon()
        assert worker.state is WorkerState.SERVING
        assert not worker.order(OrderName.REST)
    assert descriptors() == before
    switchboard.close()
    await tasks.end()


# Who is nobody's.


async def test_a_strange_server_is_told_to_leave_and_its_listener_is_closed(
    listening: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    reception = opened()
    reception.drain_timeout = 77.0
    call = calling("strange", listener=listening)
    reception.answer(call)
    (order,) = call.told
    assert (order.order, order.timeout) == (OrderName.LEAVE, 77.0)
    assert call.listener is None
    assert f"Process {call.pid} is nobody's and is ended" in caplog.text
    await soon()
    assert not call.process.running
    assert call.process.signals == [], "it finished what it had"


async def test_a_strange_zygote_is_ended_by_a_signal() -> None:
    with subprocess.Popen(["sleep", "1000"]) as child:
        try:
            call = FakeCall(FakeProcess(), Standing(WorkerState.READY, token="strange", zygote="7"))
            call.pid = child.pid
            opened().answer(call)
            assert child.wait(10) == -signal.SIGKILL
        finally:
            child.kill()
    await soon()


async def test_a_strange_server_gets_no_signal() -> None:
    with subprocess.Popen(["sleep", "1000"]) as child:
        try:
            call = calling("strange")
            call.pid = child.pid
            opened().answer(call)
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(0.1)
        finally:
            child.kill()
    await soon()


async def test_one_that_is_expected_no_more_is_sent_away_when_it_calls_after_all(log: Path) -> None:
    reception = opened()
    worker = reception.expect(log)
    reception.forget(worker)
    call = calling(worker.token, WorkerState.STARTING)
    reception.answer(call)
    assert call.orders == [OrderName.LEAVE]
    reception.forget(worker)  # once more does no harm


# What an earlier supervisor left.


async def test_while_it_adopts_strangers_wait_and_afterwards_those_who_still_do_are_sent_away(
    log: Path, listening: socket.socket
) -> None:
    reception = Reception()
    ours, nobodys, closed = calling("a", listener=listening), calling("b", listener=listening), calling("c")
    for call in (ours, nobodys, closed):
        reception.answer(call)
    closed.hang_up()
    await asyncio.sleep(10)
    assert reception.waiting() == [ours, nobodys]
    assert ours.orders == nobodys.orders == []
    worker = reception.adopt(ours, ours.process, log)
    assert worker.state is WorkerState.SERVING
    assert reception.waiting() == [nobodys]
    reception.adopted()
    assert (ours.orders, nobodys.orders, closed.orders) == ([], [OrderName.LEAVE], [])
    assert nobodys.listener is None
    assert reception.waiting() == []
    listener = worker.take_listener()
    assert listener
    listener.close()
    assert worker.take_listener() is None
    reception.answer(late := calling("d"))
    assert late.orders == [OrderName.LEAVE], "from now on at once"


async def test_one_that_calls_again_while_it_waits_is_adopted_on_its_new_line(
    log: Path, listening: socket.socket
) -> None:
    reception = Reception()
    former = calling("a")
    reception.answer(former)
    (known,) = reception.waiting()
    former.hang_up()
    again = FakeCall(former.process, former.standing, listening.dup())
    reception.answer(again)
    assert reception.waiting() == [again]
    worker = reception.adopt(known, former.process, log)
    assert worker.order(OrderName.REST)
    assert again.orders == [OrderName.REST]
    listener = worker.take_listener()
    assert listener
    listener.close()
    reception.adopted()
    assert again.orders == [OrderName.REST], "it is not sent away"


async def test_an_adopted_one_that_calls_again_is_still_the_same(log: Path, listening: socket.socket) -> None:
    reception = Reception()
    reception.answer(call := calling("a"))
    worker = reception.adopt(call, call.process, log)
    reception.adopted()
    again = FakeCall(call.process, replace(call.standing, state=WorkerState.RESTING), listening.dup())
    reception.answer(again)
    assert worker.state is WorkerState.RESTING
    assert again.listener is None, "ours already"
    assert again.orders == []


async def test_processes_of_before_there_were_tokens_are_known_by_their_pids(log: Path) -> None:
    reception = Reception()
    first, second = calling(""), calling("")
    for call in (first, second):
        reception.answer(call)
    assert reception.waiting() == [first, second]
    workers = [reception.adopt(call, call.process, log) for call in (first, second)]
    reception.adopted()
    again: Call = FakeCall(second.process, replace(second.standing, state=WorkerState.LEAVING))
    reception.answer(again)
    assert [worker.state for worker in workers] == [WorkerState.SERVING, WorkerState.LEAVING]
    reception.answer(stranger := calling(""))
    assert stranger.orders == [OrderName.LEAVE]
