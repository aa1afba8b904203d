"""The line to the supervisor: what a process says on it, and which orders it takes."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from supervisor_end import Call, SupervisorEnd

from zenwebserver.worker import line
from zenwebserver.worker.messages import (
    VERSION,
    Figures,
    Forked,
    Order,
    OrderName,
    Standing,
    ThreadNow,
    WorkerState,
    encode,
)

LEAVE, REST = Order(OrderName.LEAVE, timeout=1.0), Order(OrderName.REST)
ACCEPT = Order(OrderName.ACCEPT, listener=True)


class Caller:
    """A process's end, and the orders that it takes."""

    def __init__(self, path: str) -> None:
        self.taken: queue.SimpleQueue[tuple[Order, socket.socket | None]] = queue.SimpleQueue()
        standing = Standing(WorkerState.STARTING, token="t9", server="3", release="7")
        self.line = line.Line(path, standing, self._take)
        self.goes_on = threading.Event()
        self.goes_on.set()
        self._thread = threading.Thread()

    def _take(self, order: Order, listener: socket.socket | None) -> None:
        if order.order is OrderName.THREADS:
            raise KeyError("what nobody expects")
        self.taken.put((order, listener))
        assert self.goes_on.wait(10)

    def call(self) -> None:
        """Calls again when the call before has ended, as it always does."""
        if self._thread.ident is not None:
            assert self.has_hung_up()
        self._thread = threading.Thread(target=self.line.call)
        self._thread.start()

    def has_hung_up(self) -> bool:
        self._thread.join(10)
        return not self._thread.is_alive()

    def next(self) -> tuple[Order, socket.socket | None]:
        return self.taken.get(timeout=10)


@pytest.fixture
def caller(supervisor: SupervisorEnd) -> Iterator[Caller]:
    caller = Caller(supervisor.path)
    yield caller
    supervisor.close()
    with contextlib.suppress(RuntimeError):  # it has not called
        assert caller.has_hung_up()
    caller.line.keep_listener(None)


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound


def on_the_line(caller: Caller, supervisor: SupervisorEnd) -> Call:
    caller.call()
    return supervisor.answer()


class Pipe:
    """One end is sent away, and the other tells when nobody has that any more."""

    def __init__(self) -> None:
        self.reading, self.sent = os.pipe()

    def send(self, call: Call, content: bytes) -> None:
        call.send(content, self.sent)
        os.close(self.sent)

    def is_closed(self) -> bool:
        try:
            return bool(select.select([self.reading], [], [], 10)[0]) and os.read(self.reading, 1) == b""
        finally:
            os.close(self.reading)


def test_the_first_thing_said_is_who_it_is_and_how_it_stands(caller: Caller, supervisor: SupervisorEnd) -> None:
    call = on_the_line(caller, supervisor)
    standing: dict[str, Any] = json.loads(call.first_line)
    who = {"state": "starting", "token": "t9", "pid": os.getpid(), "server": "3", "release": "7", "version": VERSION}
    assert standing == who
    assert call.listener is None


def test_what_changed_while_nobody_answered_is_said_at_the_next_call(caller: Caller, supervisor: SupervisorEnd) -> None:
    caller.line.tell(WorkerState.READY)
    caller.line.tell(WorkerState.FAILED, "no disk")
    standing = on_the_line(caller, supervisor).standing
    assert (standing.state, standing.reason) == (WorkerState.FAILED, "no disk")


def test_a_state_is_said_at_once_and_without_the_reason_of_the_last_one(
    caller: Caller, supervisor: SupervisorEnd
) -> None:
    call = on_the_line(caller, supervisor)
    caller.line.tell(WorkerState.FAILED, "no disk")
    assert call.hear().reason == "no disk"
    caller.line.tell(WorkerState.READY)
    said = call.hear()
    assert (said.state, said.reason, said.token) == (WorkerState.READY, "", "t9")


def test_news_is_said_with_who_it_is_and_not_said_again(caller: Caller, supervisor: SupervisorEnd) -> None:
    call = on_the_line(caller, supervisor)
    caller.line.mention(figures=Figures(requests=3))
    heard = call.hear()
    assert (heard.figures, heard.threads, heard.token) == (Figures(requests=3), None, "t9")
    caller.line.mention(threads=(ThreadNow("w"),))
    assert call.hear().threads == (ThreadNow("w"),)
    caller.line.mention(forked=Forked("t10", pid=4))
    assert call.hear().forked == Forked("t10", pid=4)
    caller.line.tell(WorkerState.READY)
    assert call.hear() == Standing(
        WorkerState.READY, token="t9", pid=os.getpid(), server="3", release="7", version=VERSION
    )


def test_a_listener_is_handed_over_at_each_call_until_it_is_dropped(
    caller: Caller, supervisor: SupervisorEnd, bound: socket.socket
) -> None:
    caller.line.keep_listener(bound)
    address = bound.getsockname()
    bound.close()  # what is kept is a copy
    for _ in range(2):
        call = on_the_line(caller, supervisor)
        assert call.listener
        assert call.listener.getsockname() == address
        call.hang_up()
        assert caller.has_hung_up()
    caller.line.keep_listener(None)
    assert on_the_line(caller, supervisor).listener is None
    socket.create_server(address).close()  # nobody has it any more


def test_an_order_brings_its_listening_socket(caller: Caller, supervisor: SupervisorEnd, bound: socket.socket) -> None:
    call = on_the_line(caller, supervisor)
    call.tell(ACCEPT, bound.fileno())
    order, listener = caller.next()
    assert order == ACCEPT
    assert listener
    with listener:
        assert listener.getsockname() == bound.getsockname()
    call.tell(LEAVE)
    assert caller.next() == (LEAVE, None)


def test_orders_that_arrive_in_pieces_or_together_are_taken_one_by_one(
    caller: Caller, supervisor: SupervisorEnd
) -> None:
    call = on_the_line(caller, supervisor)
    content = encode(LEAVE) + encode(REST) + encode(LEAVE)
    for start in range(0, len(content), 50):
        call.send(content[start : start + 50])
    assert [caller.next()[0] for _ in range(3)] == [LEAVE, REST, LEAVE]


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"leave",
        b"\xff\x00\xfe",
        b"[]",
        b"{}",
        b'{"order": "fly"}',
        b'{"order": "leave", "timeout": "soon"}',
        b'{"order": "leave", "timeout": NaN}',
        b'{"order": "fork", "server": {"server": "3"}}',
        100_000 * b"[",
    ],
    ids=lambda garbage: repr(garbage[:50]),
)
def test_what_is_no_order_is_ignored_and_told(
    caller: Caller, supervisor: SupervisorEnd, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    call = on_the_line(caller, supervisor)
    call.send(garbage + b"\n")
    call.tell(LEAVE)
    assert caller.next() == (LEAVE, None)
    assert "What is no order is ignored" in caplog.text
    assert len(caplog.text) < 1000


def test_an_order_that_cannot_be_carried_out_is_told_and_the_next_one_taken(
    caller: Caller, supervisor: SupervisorEnd, caplog: pytest.LogCaptureFixture
) -> None:
    call = on_the_line(caller, supervisor)
    call.tell(Order(OrderName.THREADS))
    call.tell(LEAVE)
    assert caller.next() == (LEAVE, None)
    assert "The order to threads could not be carried out" in caplog.text
    assert "what nobody expects" in caplog.text


@pytest.mark.parametrize("order", [ACCEPT, Order(OrderName.TRY), Order(OrderName.REST, listener=True)], ids=str)
def test_an_order_without_the_listening_socket_that_it_speaks_of_is_ignored(
    caller: Caller, supervisor: SupervisorEnd, order: Order, caplog: pytest.LogCaptureFixture
) -> None:
    call = on_the_line(caller, supervisor)
    call.tell(order)
    call.tell(LEAVE)
    assert caller.next() == (LEAVE, None)
    assert "came without a listening socket and is ignored" in caplog.text


@pytest.mark.parametrize(
    "content",
    [encode(ACCEPT), encode(LEAVE), encode(Order(OrderName.REST, listener=True)), b"garbage\n", b'{"order": "fly"}\n'],
)
def test_what_is_no_listening_socket_is_closed(caller: Caller, supervisor: SupervisorEnd, content: bytes) -> None:
    pipe = Pipe()
    pipe.send(on_the_line(caller, supervisor), content)
    assert pipe.is_closed()


def test_a_socket_on_which_no_server_could_listen_is_closed(caller: Caller, supervisor: SupervisorEnd) -> None:
    call = on_the_line(caller, supervisor)
    ours, theirs = socket.socketpair()
    with ours:
        call.tell(ACCEPT, theirs.fileno())
        theirs.close()
        ours.settimeout(10)
        assert ours.recv(1) == b""
    call.tell(LEAVE)
    assert caller.next() == (LEAVE, None)


def test_a_listening_socket_that_no_order_wants_is_closed(
    caller: Caller, supervisor: SupervisorEnd, bound: socket.socket
) -> None:
    call = on_the_line(caller, supervisor)
    address = bound.getsockname()
    call.tell(Order(OrderName.REST, listener=True), bound.fileno())
    call.tell(REST, bound.fileno())
    bound.close()
    call.tell(LEAVE)
    assert [caller.next() for _ in range(3)] == [
        (Order(OrderName.REST, listener=True), None),
        (REST, None),
        (LEAVE, None),
    ]
    socket.create_server(address).close()


def test_each_order_gets_the_socket_that_came_with_it_though_all_are_read_at_once(
    caller: Caller, supervisor: SupervisorEnd, bound: socket.socket
) -> None:
    call = on_the_line(caller, supervisor)
    caller.goes_on.clear()
    call.tell(LEAVE)
    assert caller.next() == (LEAVE, None)
    unwanted = Pipe()
    beginning, end = encode(LEAVE)[:10], encode(LEAVE)[10:]
    unwanted.send(call, beginning)
    call.send(end)
    call.send(encode(REST) + encode(ACCEPT)[:10], bound.fileno())
    call.send(encode(ACCEPT)[10:] + encode(REST))
    caller.goes_on.set()
    assert [caller.next() for _ in range(2)] == [(LEAVE, None), (REST, None)]
    order, listener = caller.next()
    assert order == ACCEPT
    assert listener
    with listener:
        assert listener.getsockname() == bound.getsockname()
        assert not listener.get_inheritable(), "what the site starts does not keep it listening"
    assert caller.next() == (REST, None)
    assert unwanted.is_closed()


def test_what_came_with_a_line_that_never_ended_is_closed(caller: Caller, supervisor: SupervisorEnd) -> None:
    call = on_the_line(caller, supervisor)
    first, second = Pipe(), Pipe()
    first.send(call, b'{"order"')
    second.send(call, b': "acc')
    assert second.is_closed()  # at once: a line has one
    call.hang_up()
    assert first.is_closed()
    call = on_the_line(caller, supervisor)  # nothing of it is left
    call.tell(LEAVE)
    assert caller.next() == (LEAVE, None)


def test_a_line_without_end_is_hung_up_on(
    caller: Caller, supervisor: SupervisorEnd, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(line, "LONGEST_LINE", 100_000)
    call = on_the_line(caller, supervisor)
    with contextlib.suppress(ConnectionError):
        for _ in range(100):
            call.send(10_000 * b"x")
    assert call.hears_hang_up()
    assert caller.has_hung_up()
    assert "bytes that are no order; hanging up" in caplog.text
    call = on_the_line(caller, supervisor)
    call.tell(LEAVE)
    assert caller.next() == (LEAVE, None)


def test_the_last_word_is_said_on_the_line_or_by_a_call_for_that_alone(
    caller: Caller, supervisor: SupervisorEnd
) -> None:
    caller.line.tell_at_last(WorkerState.UNSAFE, "a thread")
    call = supervisor.answer()
    assert (call.standing.state, call.standing.reason) == (WorkerState.UNSAFE, "a thread")
    assert call.hears_hang_up()
    call = on_the_line(caller, supervisor)
    caller.line.tell_at_last(WorkerState.FAILED, "no disk")
    assert call.hear().reason == "no disk"
    assert not supervisor.is_called(0.05)


def test_the_last_word_finds_nobody(caller: Caller, supervisor: SupervisorEnd) -> None:
    supervisor.close()
    caller.line.tell_at_last(WorkerState.FAILED, "no disk")


def test_a_reason_can_always_be_sent_and_written_to_a_log(caller: Caller, supervisor: SupervisorEnd) -> None:
    call = on_the_line(caller, supervisor)
    caller.line.tell(WorkerState.FAILED, "no file: /srv/\udce4")
    assert call.hear().reason == "no file: /srv/\\udce4"
    end = threading.Thread(
        target=caller.line.tell, args=(WorkerState.FAILED, 1_000_000 * "\N{PILE OF POO}" + "the end")
    )
    end.start()
    said = call.hear_line()
    end.join(10)
    assert len(said) < line.LONGEST_LINE
    assert json.loads(said)["reason"].endswith("the end")


def test_a_supervisor_that_does_not_read_is_called_anew(
    caller: Caller, supervisor: SupervisorEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "SEND_SECONDS", 0.01)
    on_the_line(caller, supervisor)
    caller.line.mention(threads=(ThreadNow("w", stack=1_000_000 * "x"),))
    assert caller.has_hung_up()
    caller.line.tell(WorkerState.SERVING)
    assert on_the_line(caller, supervisor).standing.state is WorkerState.SERVING
