"""A server's process: what it says from its boot to its end, and what it does with orders that come at odd times."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from supervisor_end import Call, SupervisorEnd, running

from zenwebserver.worker import server
from zenwebserver.worker.messages import Order, OrderName, ServerSpec, Standing, ThreadNow, WorkerState, encode

# The site boots when a line is typed, and a visitor of /wait waits for another; all but the site is as it is.
PROGRAM = """
import sys
from zenwebserver.worker import application, away, server, warmup

def site(environ, start_response):
    if environ["PATH_INFO"] == "/wait":
        sys.stdin.readline()
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]

def load(zope_ini, zope_conf):
    if sys.stdin.readline() == "break\\n":
        raise KeyError("prices")
    return site

away.with_patience = lambda site, _: site
application.configure_logging = lambda _: None
application.load = load
application.close_databases = lambda: None
warmup.check_database = lambda _: None
sys.exit(server.main(sys.argv[1]))
"""
TRY, ACCEPT = Order(OrderName.TRY, listener=True), Order(OrderName.ACCEPT, listener=True)
REST, THREADS, LEAVE = Order(OrderName.REST), Order(OrderName.THREADS), Order(OrderName.LEAVE, timeout=10.0)


@contextlib.contextmanager
def booting(supervisor: SupervisorEnd, folder: Path) -> Iterator[tuple[subprocess.Popen[str], Call]]:
    spec = ServerSpec("3", "/s/zope.ini", "/s/zope3.conf", 2, release="7", token="t9", supervisor=supervisor.path)
    argument = json.dumps({**json.loads(encode(spec)), "a later key": 1})
    with running(PROGRAM, argument, folder / "3.log") as process:
        yield process, supervisor.answer()


def type_line(process: subprocess.Popen[str], line: str = "") -> None:
    assert process.stdin
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


@contextlib.contextmanager
def ready(supervisor: SupervisorEnd, folder: Path) -> Iterator[tuple[subprocess.Popen[str], Call]]:
    with booting(supervisor, folder) as (process, call):
        type_line(process)
        call.hear_of(WorkerState.READY)
        yield process, call


def threads(call: Call) -> Standing:
    call.tell(THREADS)
    while (standing := call.hear()).threads is None:
        pass
    return standing


def thread(call: Call, name: str) -> ThreadNow:
    return next(each for each in threads(call).threads or () if each.name == name)


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound


@contextlib.contextmanager
def asking(listener: socket.socket, path: str = "/") -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(*listener.getsockname(), timeout=10)
    connection.request("GET", path, headers={"Connection": "close"})
    yield connection
    connection.close()


def is_served(listener: socket.socket) -> bool:
    try:
        with asking(listener) as connection:
            return connection.getresponse().read() == b"ok"
    except ConnectionError:
        return False


def test_a_server_says_whose_order_it_was_made_for_and_how_it_stands_to_its_end(
    supervisor: SupervisorEnd, tmp_path: Path, bound: socket.socket
) -> None:
    with ready(supervisor, tmp_path) as (process, call), socket.socket() as aside:
        said = call.standing
        assert (said.token, said.pid, said.server, said.release, said.zygote) == ("t9", process.pid, "3", "7", "")
        aside.bind(("127.0.0.1", 0))
        call.tell(TRY, aside.fileno())
        assert call.hear_of(WorkerState.TRYING).token == "t9"
        assert is_served(aside)
        for _ in range(2):
            call.tell(ACCEPT, bound.fileno())
            call.hear_of(WorkerState.SERVING)
            assert is_served(bound)
            call.tell(REST)
            call.hear_of(WorkerState.RESTING)
        call.tell(LEAVE)
        call.hear_of(WorkerState.LEAVING)
        assert process.wait(10) == 0


def test_it_says_how_busy_it_is(supervisor: SupervisorEnd, tmp_path: Path, bound: socket.socket) -> None:
    with ready(supervisor, tmp_path) as (_, call):
        call.tell(ACCEPT, bound.fileno())
        while (figures := call.hear().figures) is None:
            pass
        assert (figures.requests, figures.busy, figures.all_busy_seconds) == (0, 0, 0.0)
        assert figures.memory > 1_000_000


def test_it_tells_what_its_threads_do_while_it_boots_and_boots_on(
    supervisor: SupervisorEnd, tmp_path: Path, bound: socket.socket
) -> None:
    with booting(supervisor, tmp_path) as (process, call):
        while "in load" not in (main := thread(call, "MainThread")).stack:
            pass
        assert (main.request, main.seconds) == ("", 0.0)
        type_line(process)
        call.hear_of(WorkerState.READY)
        assert threads(call).state is WorkerState.READY
        call.tell(ACCEPT, bound.fileno())
        call.hear_of(WorkerState.SERVING)
        with asking(bound, "/wait") as waiting:
            while not any(each.request == "GET /wait" for each in threads(call).threads or ()):
                pass
            type_line(process)
            assert waiting.getresponse().read() == b"ok"


def test_orders_that_come_while_it_boots_are_taken_in_turn(
    supervisor: SupervisorEnd, tmp_path: Path, bound: socket.socket
) -> None:
    with booting(supervisor, tmp_path) as (process, call):
        call.tell(REST)  # from nothing
        call.tell(TRY, bound.fileno())
        call.tell(TRY, bound.fileno())  # it has its trial
        call.tell(ACCEPT, bound.fileno())
        call.tell(LEAVE)
        assert threads(call).state is WorkerState.STARTING  # so all that has been taken
        type_line(process)
        assert call.hears_hang_up()
        assert call.states == [
            WorkerState.STARTING,
            WorkerState.READY,
            WorkerState.TRYING,
            WorkerState.SERVING,
            WorkerState.LEAVING,
        ]
        assert process.wait(10) == 0


def test_one_that_is_told_to_leave_before_it_has_served_leaves(supervisor: SupervisorEnd, tmp_path: Path) -> None:
    with ready(supervisor, tmp_path) as (process, call):
        call.tell(LEAVE)
        assert call.hears_hang_up()
        assert call.states == [WorkerState.STARTING, WorkerState.READY, WorkerState.LEAVING]
        assert process.wait(10) == 0


def test_one_that_leaves_does_not_come_back(supervisor: SupervisorEnd, tmp_path: Path, bound: socket.socket) -> None:
    with ready(supervisor, tmp_path) as (process, call):
        call.tell(ACCEPT, bound.fileno())
        call.hear_of(WorkerState.SERVING)
        with asking(bound, "/wait") as waiting:
            while not any(each.request for each in threads(call).threads or ()):
                pass
            call.tell(LEAVE)
            call.hear_of(WorkerState.LEAVING)
            call.tell(ACCEPT, bound.fileno())
            call.tell(REST)
            assert threads(call).state is WorkerState.LEAVING  # so all that has been taken
            type_line(process)
            assert waiting.getresponse().read() == b"ok"
        assert call.hears_hang_up()
        assert call.states[-2:] == [WorkerState.SERVING, WorkerState.LEAVING]
        address = bound.getsockname()
        bound.close()
        assert process.wait(10) == 0
        socket.create_server(address).close()


def test_why_it_could_not_boot_is_told_before_it_ends(supervisor: SupervisorEnd, tmp_path: Path) -> None:
    with booting(supervisor, tmp_path) as (process, call):
        type_line(process, "break")
        standing = call.hear_of(WorkerState.FAILED)
        assert standing.reason.endswith("KeyError: 'prices'\n")
        assert standing.token == "t9"
        assert process.wait(10) == 1
    assert (tmp_path / "3.log").read_text().endswith("KeyError: 'prices'\n")


def test_a_listening_socket_that_cannot_be_served_is_told_as_a_failure(
    supervisor: SupervisorEnd, tmp_path: Path
) -> None:
    with ready(supervisor, tmp_path) as (process, call), socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as connected:
            call.tell(ACCEPT, connected.fileno())
            assert "Error" in call.hear_of(WorkerState.FAILED).reason
        assert process.wait(10) == 1


def test_one_that_serves_serves_on_when_it_is_hung_up_on_and_calls_again_with_its_listener(
    supervisor: SupervisorEnd, tmp_path: Path, bound: socket.socket
) -> None:
    with ready(supervisor, tmp_path) as (_, call):
        call.tell(ACCEPT, bound.fileno())
        call.hear_of(WorkerState.SERVING)
        call.hang_up()
        assert is_served(bound)
        call = supervisor.answer()
        assert (call.standing.state, call.standing.token) == (WorkerState.SERVING, "t9")
        assert call.listener
        assert call.listener.getsockname() == bound.getsockname()


def test_what_the_site_still_has_running_keeps_no_process_that_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []
    monkeypatch.setattr(server.application, "close_databases", lambda: done.append("databases"))
    monkeypatch.setattr(server.logging, "shutdown", lambda: done.append("logs"))
    monkeypatch.setattr(
        server.faulthandler, "dump_traceback_later", lambda seconds, *, exit: done.append((seconds, exit))
    )
    assert server.end() == 0
    assert done == ["databases", "logs", (server.EXIT_SECONDS, True)]
