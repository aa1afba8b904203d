"""waitress that can leave: what it has accepted it answers, and it takes nothing new."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from zenwebserver.worker import drain, server


def listener() -> socket.socket:
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    return bound


class Running:
    """A server in a thread; "/wait" answers when it is let go."""

    def __init__(self) -> None:
        self.entered, self.let_go = threading.Event(), threading.Event()
        first = listener()
        self.port = first.getsockname()[1]
        self.server = drain.WaitressEngine(self._site, first, 2)
        self.server.accept_connections()
        self._thread = threading.Thread(target=self.server.run)
        self._thread.start()

    def _site(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/wait":
            self.entered.set()
            self.let_go.wait(30)
        start_response("200 OK", [("Content-Length", "2"), ("X-Port", environ["SERVER_PORT"])])
        return [b"ok"]

    def connect(self, port: int = 0) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=10)

    def begin_to_wait(self) -> http.client.HTTPConnection:
        """A request that is under way."""
        connection = self.connect()
        connection.request("GET", "/wait")
        assert self.entered.wait(10)
        return connection

    def call(self, function: Callable[..., None], *arguments: Any) -> None:
        """Have the loop's thread call it, and wait until it has."""
        done = threading.Event()
        self.server.call(lambda: (function(*arguments), done.set()))
        assert done.wait(10)

    def has_left(self, seconds: float = 10) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def end(self) -> None:
        self.let_go.set()
        self.server.call(self.server.leave, 0.0)
        assert self.has_left()
        self.server.task_dispatcher.shutdown()
        for channel in list(self.server.active_channels.values()):
            channel.handle_close()
        self.server.trigger.close()


@pytest.fixture
def running() -> Iterator[Running]:
    running = Running()
    yield running
    running.end()


def get(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert answer.read() == b"ok"
    return answer


def test_a_leaving_server_finishes_what_it_has_and_takes_nothing_new(running: Running) -> None:
    waiting = running.begin_to_wait()
    running.call(running.server.leave, 30.0)
    with pytest.raises(ConnectionError):
        running.connect().connect()
    assert not running.has_left(0.1)
    running.let_go.set()
    answer = waiting.getresponse()
    assert answer.read() == b"ok"
    assert answer.headers["Connection"] == "close"
    assert running.has_left()
    waiting.close()


def test_a_connection_that_is_kept_alive_is_answered_once_more_and_closed(running: Running) -> None:
    connection = running.connect()
    assert get(connection).headers["Connection"] != "close"
    running.call(running.server.leave, 30.0)
    assert get(connection).headers["Connection"] == "close"
    assert running.has_left()
    connection.close()


def test_idle_connections_do_not_keep_a_leaving_server(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "IDLE_TIMEOUT_WHEN_LEAVING", 0.2)
    connection = running.connect()
    get(connection)
    running.call(running.server.leave, 30.0)
    assert running.has_left()
    connection.close()


def test_what_outlasts_the_drain_timeout_is_named_and_cut_off(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = running.begin_to_wait()
    with caplog.at_level(logging.WARNING):
        running.call(running.server.leave, 0.1)
        assert running.has_left()
    assert "Cut off after the drain timeout: GET /wait, running for" in caplog.text
    waiting.close()


def test_a_resting_server_serves_again_on_the_socket_that_it_is_given(running: Running) -> None:
    connection = running.connect()
    assert get(connection).headers["X-Port"] == str(running.port)
    connection.close()
    running.call(running.server.rest)
    with pytest.raises(ConnectionError):
        running.connect().connect()
    another = listener()
    port = another.getsockname()[1]
    running.call(running.server.accept_again, another)
    again = running.connect(port)
    assert get(again).headers["X-Port"] == str(port)
    assert get(again).headers["Connection"] != "close"
    again.close()


def test_it_says_what_it_works_on_and_how_much_it_has_answered(running: Running) -> None:
    waiting = running.begin_to_wait()
    assert [request.what for request in running.server.running.values()] == ["GET /wait"]
    running.let_go.set()
    waiting.getresponse().read()
    connection = running.connect()
    get(connection)
    get(connection)
    # Counted when the answer has been given to the loop, so perhaps a moment after the client has it.
    assert running.server.requests in (2, 3)
    waiting.close()
    connection.close()


def test_a_clock_that_is_set_makes_no_request_seem_to_hang(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = running.begin_to_wait()
    running.entered.clear()
    waiting_too = running.begin_to_wait()
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 3600)
    figures = server.figures(running.server)
    monkeypatch.undo()
    assert figures.busy == 2
    assert 0 < figures.all_busy_seconds < 60
    running.let_go.set()
    for connection in (waiting, waiting_too):
        connection.getresponse().read()
        connection.close()
