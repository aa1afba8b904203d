"""Calls over real Unix sockets: what is said is heard, what is not understood does no harm, and no descriptor leaks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import socket
import stat
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import descriptors, soon

from zenwebserver.supervisor.line import switchboard
from zenwebserver.supervisor.line.switchboard import Call, Switchboard, listen_on
from zenwebserver.supervisor.tasks import PAUSE_SECONDS, Tasks
from zenwebserver.worker.messages import LONGEST_LINE, Order, OrderName, ServerSpec, Standing, WorkerState, encode

READY = Standing(WorkerState.READY, token="t", server="1", version=1)
SERVING = Standing(WorkerState.SERVING, token="t", server="1", version=1)


class Stage:
    """A switchboard that is open, and who called."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "workers.sock"
        self.tasks = Tasks()
        self.calls: list[Call] = []
        self.switchboard = Switchboard(self.path, self.calls.append, self.tasks)
        self.switchboard.open()

    async def end(self) -> None:
        self.switchboard.close()
        await self.tasks.end()

    async def still_answers(self) -> None:
        with Caller(self.path) as caller:
            caller.says(READY)
            await soon()
            assert self.calls.pop().standing == READY
        await soon()


class Caller:
    """A process that calls, played in this one."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        try:
            self.socket.connect(str(path))
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def says(self, what: Standing | bytes, *descriptors: int) -> None:
        socket.send_fds(self.socket, [what if isinstance(what, bytes) else encode(what)], descriptors)

    def hears(self) -> bytes:
        """All that has come so far."""
        heard = b""
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while part := self.socket.recv(1_000_000):
                heard += part
        return heard

    def is_hung_up(self) -> bool:
        try:
            return self.socket.recv(1) == b""
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


# What is said, and what is told.


async def test_a_call_is_answered_and_every_line_of_it_is_heard(folder: Path) -> None:
    stage, heard = Stage(folder), list[WorkerState]()
    with Caller(stage.path) as caller:
        caller.says(encode(READY)[:10])
        await soon()
        assert stage.calls == []
        caller.says(encode(READY)[10:] + encode(SERVING)[:10])
        await soon()
        (call,) = stage.calls
        assert (call.pid, call.standing, call.listener) == (os.getpid(), READY, None)
        call.listen = lambda standing: heard.append(standing.state)
        caller.says(encode(SERVING)[10:] + encode(READY) + encode(SERVING))
        await soon()
        assert heard == [WorkerState.SERVING, WorkerState.READY, WorkerState.SERVING]
        assert call.standing == SERVING
    await soon()
    assert not call.open
    await stage.end()


async def test_what_came_right_behind_the_first_line_is_heard_by_who_listens_when_it_is_answered(folder: Path) -> None:
    stage, heard = Stage(folder), list[WorkerState]()
    stage.switchboard._answer = lambda call: setattr(call, "listen", lambda standing: heard.append(standing.state))
    with Caller(stage.path) as caller:
        caller.says(encode(READY) + encode(SERVING))
        await soon()
    assert heard == [WorkerState.SERVING]
    await stage.end()


async def test_a_listening_socket_travels_both_ways(folder: Path, listening: socket.socket) -> None:
    stage, before = Stage(folder), descriptors()
    with Caller(stage.path) as caller:
        caller.says(SERVING, listening.fileno())
        await soon()
        (call,) = stage.calls
        assert call.listener
        assert call.listener.getsockname() == listening.getsockname()
        assert not call.listener.get_inheritable()
        assert call.order(Order(OrderName.ACCEPT, listener=True), call.listener)
        line, received, _, _ = socket.recv_fds(caller.socket, 1000, 2)
        assert json.loads(line)["order"] == "accept"
        with socket.socket(fileno=received[0]) as returned:
            assert returned.getsockname() == listening.getsockname()
    await soon()
    assert call.listener is None, "nobody took it over: it does not go on listening"
    assert descriptors() == before
    await stage.end()


async def test_an_order_on_a_closed_line_is_not_on_its_way_and_nothing_is_raised(
    folder: Path, listening: socket.socket
) -> None:
    stage = Stage(folder)
    with Caller(stage.path) as caller:
        caller.says(READY)
        await soon()
        (call,) = stage.calls
    assert not call.order(Order(OrderName.ACCEPT, listener=True), listening), "it is gone, which nobody has noticed"
    await soon()
    assert not call.order(Order(OrderName.ACCEPT, listener=True), listening)
    call.hang_up()
    assert not call.open
    await stage.end()


async def test_orders_to_a_process_that_reads_nothing_are_refused_and_those_before_them_are_whole(folder: Path) -> None:
    stage = Stage(folder)
    with Caller(stage.path) as caller:
        caller.says(READY)
        await soon()
        (call,) = stage.calls
        sent = 0
        while call.order(Order(OrderName.THREADS, timeout=float(sent))):
            sent += 1
        assert not call.order(Order(OrderName.LEAVE))
        lines = caller.hears().splitlines(keepends=True)
        assert len(lines) == sent
        assert [json.loads(line)["timeout"] for line in lines] == list(range(sent))
        assert call.order(Order(OrderName.LEAVE)), "it reads again"
    await soon()
    await stage.end()


async def test_an_order_of_which_only_a_part_went_out_is_the_last_on_that_line(folder: Path) -> None:
    stage = Stage(folder)
    paths = tuple(f"/page-{number}" for number in range(100_000))
    spec = ServerSpec("1", "zope.ini", "zope.conf", 4, warmup_paths=paths)
    with Caller(stage.path) as caller:
        caller.says(READY)
        await soon()
        (call,) = stage.calls
        assert not call.order(Order(OrderName.FORK, server=spec))
        part = caller.hears()
        assert part, "a part went out"
        assert not call.order(Order(OrderName.LEAVE))
        assert caller.is_hung_up(), "so it calls again"
        assert b"\n" not in part
        await soon()
        assert not call.open
    await stage.end()


# Who is not answered.


async def test_another_users_process_is_hung_up_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, listening: socket.socket
) -> None:
    stage, before = Stage(folder), descriptors()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(switchboard, "caller", lambda _: (4711, 1001))
    with Caller(stage.path) as caller:
        caller.says(SERVING, listening.fileno())
        await soon()
        assert caller.is_hung_up()
    assert stage.calls == []
    assert "Process 4711 of user 1001 called and is hung up on" in caplog.text
    assert descriptors() == before
    await stage.end()


@pytest.mark.parametrize("uid", [1000, 0])
async def test_the_own_users_and_roots_processes_are_answered(
    folder: Path, monkeypatch: pytest.MonkeyPatch, uid: int
) -> None:
    stage = Stage(folder)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(switchboard, "caller", lambda _: (4711, uid))
    await stage.still_answers()
    await stage.end()


def test_pid_and_user_of_a_caller_are_the_kernels_word() -> None:
    left, right = socket.socketpair(socket.AF_UNIX)
    with left, right:
        assert switchboard.caller(left) == (os.getpid(), os.geteuid())


# What is not understood.

GARBAGE = {
    "empty": b"\n",
    "no JSON": b"hello\n",
    "no text": b"\xff\xfe\x00\n",
    "no object": b"[]\n",
    "no state": b'{"token": "t"}\n',
    "an unknown state": b'{"state": "flying"}\n',
    "a wrong type": b'{"state": "ready", "pid": "x"}\n',
    "wrong figures": b'{"state": "ready", "figures": "x"}\n',
    "too deep": b"[" * 100_000 + b"\n",
    "too deep in a known key": b'{"state": "ready", "threads": ' + b"[" * 100_000 + b"\n",
}


@pytest.mark.parametrize("line", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_in_the_first_line_is_hung_up_on_and_the_next_is_answered(
    folder: Path, line: bytes, listening: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    stage, before = Stage(folder), descriptors()
    with Caller(stage.path) as caller:
        caller.says(line, listening.fileno())
        await soon()
        assert caller.is_hung_up()
    assert stage.calls == []
    assert descriptors() == before
    assert [record.levelname for record in caplog.records] == ["WARNING"], "its fault, not a defect"
    assert f"Process {os.getpid()} called, and is not understood" in caplog.text
    await stage.still_answers()
    await stage.end()


@pytest.mark.parametrize("line", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_in_a_later_line_is_hung_up_on(
    folder: Path, line: bytes, listening: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    stage, before = Stage(folder), descriptors()
    with Caller(stage.path) as caller:
        caller.says(SERVING, listening.fileno())
        await soon()
        caller.says(line)
        await soon()
        assert caller.is_hung_up(), "so that it calls again, and is understood"
        assert not stage.calls.pop().open
    assert descriptors() == before
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    await stage.still_answers()
    await stage.end()


@pytest.mark.parametrize("beginning", [b"", encode(READY)], ids=["the first line", "a later line"])
async def test_a_line_without_end_is_refused_and_takes_no_memory(folder: Path, beginning: bytes) -> None:
    stage = Stage(folder)
    await stage.still_answers()
    tracemalloc.start()
    try:
        with Caller(stage.path) as caller:
            before, _ = tracemalloc.get_traced_memory()
            caller.says(beginning or b"x")
            sent, part = 0, b"x" * 64 * 1024
            with contextlib.suppress(ConnectionError):
                while sent < 3 * LONGEST_LINE:
                    await asyncio.get_running_loop().sock_sendall(caller.socket, part)
                    sent += len(part)
            assert LONGEST_LINE < sent < 1.5 * LONGEST_LINE
            await soon()
            assert caller.is_hung_up()
        stage.calls.clear()
        after, peak = tracemalloc.get_traced_memory()
        assert after - before < 100_000
        assert peak - before < 4 * LONGEST_LINE
    finally:
        tracemalloc.stop()
    await stage.still_answers()
    await stage.end()


async def test_a_line_of_almost_the_longest_length_is_understood(folder: Path) -> None:
    stage = Stage(folder)
    long = Standing(WorkerState.FAILED, reason="x" * (LONGEST_LINE - 200))
    with Caller(stage.path) as caller:
        await asyncio.get_running_loop().sock_sendall(caller.socket, encode(long))
        await soon()
        assert stage.calls.pop().standing == long
        await asyncio.get_running_loop().sock_sendall(caller.socket, encode(long))
        await soon()
        assert not caller.is_hung_up()
    await soon()
    await stage.end()


async def test_one_that_dies_before_it_has_read_an_order_is_no_defect(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(folder)
    with Caller(stage.path) as caller:
        caller.says(READY)
        await soon()
        (call,) = stage.calls
        assert call.order(Order(OrderName.THREADS))
    await soon()
    assert not call.open
    assert not caplog.records
    await stage.end()


async def test_one_that_hangs_up_in_the_middle_of_its_first_line_leaves_nothing(
    folder: Path, listening: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    stage, before = Stage(folder), descriptors()
    with Caller(stage.path) as caller:
        caller.says(encode(SERVING)[:10], listening.fileno())
        await soon()
    await soon()
    assert stage.calls == []
    assert descriptors() == before
    assert caplog.messages == [f"Process {os.getpid()} called, and is not understood: it hung up"]
    await stage.end()


async def test_a_defect_where_a_call_is_answered_is_told_and_the_next_is_answered(
    folder: Path, listening: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    stage, before = Stage(folder), descriptors()

    def answer(call: Call) -> None:
        stage.calls.append(call)
        if len(stage.calls) == 1:
            raise TypeError("a defect")

    stage.switchboard._answer = answer
    with Caller(stage.path) as caller:
        caller.says(SERVING, listening.fileno())
        await soon()
        assert caller.is_hung_up()
    assert descriptors() == before
    assert "A call failed, which is a defect" in caplog.text
    await stage.still_answers()
    await stage.end()


# What is no listener.


def no_listeners() -> dict[str, Any]:
    """Descriptors that are none, each made when it is needed."""

    def file() -> int:
        return os.open("/dev/null", os.O_RDONLY)

    def pipe() -> int:
        reading, writing = os.pipe()
        os.close(writing)
        return reading

    def unix() -> int:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind("")  # the kernel gives it a name
        listener.listen()
        return listener.detach()

    def bound() -> int:
        bound = socket.socket()
        bound.bind(("127.0.0.1", 0))
        return bound.detach()

    def datagrams() -> int:
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach()

    return {
        "a file": file,
        "a pipe": pipe,
        "a Unix socket": unix,
        "one that does not listen": bound,
        "one for datagrams": datagrams,
    }


@pytest.mark.parametrize("make", no_listeners().values(), ids=no_listeners())
async def test_what_is_no_listening_tcp_socket_is_refused_and_closed(folder: Path, make: Any) -> None:
    stage, before = Stage(folder), descriptors()
    passed = make()
    with Caller(stage.path) as caller:
        caller.says(SERVING, passed)
        await soon()
        assert caller.is_hung_up()
    os.close(passed)
    assert stage.calls == []
    assert descriptors() == before
    await stage.still_answers()
    await stage.end()


async def test_two_listeners_are_refused_whether_they_come_at_once_or_one_by_one(
    folder: Path, listening: socket.socket
) -> None:
    stage, before = Stage(folder), descriptors()
    for parts in ([2], [1, 1], [1, 2]):
        line = encode(SERVING)
        with Caller(stage.path) as caller:
            for count in parts:
                caller.says(line[: len(line) // len(parts)], *[listening.fileno()] * count)
                line = line[len(line) // len(parts) :]
                await soon()
            caller_says_the_rest(caller, line)
            await soon()
            assert caller.is_hung_up(), parts
        assert stage.calls == [], parts
    assert descriptors() == before
    await stage.end()


def caller_says_the_rest(caller: Caller, rest: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):
        caller.says(rest)


async def test_a_descriptor_that_comes_with_a_later_line_is_dropped(folder: Path, listening: socket.socket) -> None:
    stage = Stage(folder)
    with Caller(stage.path) as caller:
        caller.says(READY)
        await soon()
        before = descriptors()
        caller.says(SERVING, listening.fileno())
        await soon()
        assert stage.calls.pop().standing == SERVING
        assert descriptors() == before
    await soon()
    await stage.end()


# A process with as many open files as it may have.


@contextlib.contextmanager
def no_descriptor_left(*, but: int = 0) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    taken = list[int]()
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        for _ in range(but):
            os.close(taken.pop())
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_where_no_descriptor_is_left_calls_wait_and_are_answered_later(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(folder)
    with contextlib.ExitStack() as callers:
        early = callers.enter_context(Caller(stage.path))
        early.says(READY)
        await soon()
        with no_descriptor_left(but=1):
            late = callers.enter_context(Caller(stage.path))
            late.says(READY)
            early.says(SERVING)
            await asyncio.sleep(5 * PAUSE_SECONDS)
            assert "The switchboard failed, and goes on" in caplog.text
            assert [call.standing for call in stage.calls] == [SERVING], "who is on the line is heard"
        await asyncio.sleep(2 * PAUSE_SECONDS)
        assert len(stage.calls) == 2
    await soon()
    stage.calls.clear()
    await stage.still_answers()
    await stage.end()


async def test_where_none_is_left_for_a_listener_its_process_is_hung_up_on_and_not_taken_for_one_without(
    folder: Path, listening: socket.socket
) -> None:
    stage = Stage(folder)
    with Caller(stage.path) as caller:
        await soon()  # accepted
        with no_descriptor_left():
            caller.says(SERVING, listening.fileno())
            await soon()
        assert caller.is_hung_up()
        assert stage.calls == []
    await stage.end()


# Open and close.


async def test_after_the_close_everybody_is_hung_up_on_and_nobody_is_answered(
    folder: Path, listening: socket.socket
) -> None:
    stage, before = Stage(folder), descriptors()
    with Caller(stage.path) as on_the_line, Caller(stage.path) as silent:
        on_the_line.says(SERVING, listening.fileno())
        await soon()
        stage.switchboard.close()
        await soon()
        assert on_the_line.is_hung_up()
        assert silent.is_hung_up()
        assert not stage.calls.pop().open
        with pytest.raises(ConnectionRefusedError):
            Caller(stage.path)
    stage.switchboard.close()
    await stage.end()
    assert descriptors() == before - 1


async def test_a_call_that_is_just_being_accepted_is_hung_up_on_by_the_close(folder: Path) -> None:
    for turns in range(8):
        stage, before = Stage(folder), descriptors()
        with Caller(stage.path) as caller:
            for _ in range(turns):
                await asyncio.sleep(0)
            stage.switchboard.close()
            await soon()
            assert caller.is_hung_up(), turns
        await stage.end()
        assert descriptors() == before - 1


async def test_opened_again_it_answers_again(folder: Path) -> None:
    stage = Stage(folder)
    for close_first in (True, False):
        with Caller(stage.path) as former:
            former.says(READY)
            await soon()
            stage.calls.pop()
            if close_first:
                stage.switchboard.close()
            stage.switchboard.open()
            await soon()
            assert former.is_hung_up()
        await stage.still_answers()
    await stage.end()


# Its socket.


def test_the_socket_is_for_its_owner_alone(tmp_path: Path) -> None:
    former = os.umask(0)
    try:
        with listen_on(tmp_path / "workers.sock"):
            assert stat.S_IMODE((tmp_path / "workers.sock").stat().st_mode) == 0o600
            assert os.umask(0) == 0, "what is made next is not affected"
    finally:
        os.umask(former)


def test_a_socket_is_replaced_with_no_moment_without_one(tmp_path: Path) -> None:
    path, moments = tmp_path / "workers.sock", list[bool]()
    with listen_on(path):
        former = path.stat().st_ino
        sys.setprofile(lambda *_: moments.append(os.path.lexists(path)))
        try:
            successor = listen_on(path)
        finally:
            sys.setprofile(None)
        with successor:
            assert len(moments) > 20
            assert all(moments)
            assert path.stat().st_ino != former
            Caller(path).socket.close()
            assert [file.name for file in tmp_path.iterdir()] == ["workers.sock"]


def test_what_an_earlier_one_left_in_the_middle_is_in_nobodys_way(tmp_path: Path) -> None:
    for name in ("workers.sock", ".wor.new"):
        (tmp_path / name).write_text("")
    with listen_on(tmp_path / "workers.sock"):
        Caller(tmp_path / "workers.sock").socket.close()


def test_where_it_cannot_be_made_the_former_one_stays_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, before = tmp_path / "workers.sock", descriptors()

    def full(_: Path, __: Path) -> None:
        raise OSError(28, "No space left on device")

    with listen_on(path):
        with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
            patched.setattr(Path, "replace", full)
            listen_on(path)
        Caller(path).socket.close()
        assert [file.name for file in tmp_path.iterdir()] == ["workers.sock"]
    assert descriptors() == before
