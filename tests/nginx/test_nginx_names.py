"""nginx asks for its servers: what visitors get before it knows any, and when it knows others."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TypeVar

import pytest
from echo_upstream import Upstream, serving
from running_nginx import Balancer, Start

from zenwebserver.nginx.binary import Capabilities
from zenwebserver.nginx.config import PoolServer, shipped_error_page
from zenwebserver.supervisor.parts import nginx_processes
from zenwebserver.supervisor.parts.name_server import NameServer

WAIT_SECONDS = 60
Result = TypeVar("Result")


class Names:
    """The name server of a supervisor, in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever).start()
        self.server = self.do(NameServer)

    @property
    def port(self) -> int:
        return self.server.port

    def tell(self, *upstreams: Upstream) -> None:
        """Returns when a worker of nginx has asked for the name of that pool."""
        self.tell_ports(*(each.port for each in upstreams))

    def tell_ports(self, *ports: int) -> None:
        servers = [PoolServer(number, "127.0.0.1", port) for number, port in enumerate(ports, 1)]
        self.do(lambda: self.server.tell(servers))
        wait_until(lambda: bool(self.server.taken_up))

    def end(self) -> None:
        self.do(self.server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        wait_until(lambda: not self._loop.is_running())
        self._loop.close()

    def do(self, work: Callable[[], Result]) -> Result:
        async def done() -> Result:
            return work()

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result(WAIT_SECONDS)


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def names(capabilities: Capabilities) -> Iterator[Names]:
    if not capabilities.asks_for_servers:
        pytest.skip("this nginx asks for no servers")
    made = Names()
    yield made
    made.end()


def visited(balancer: Balancer, *upstreams: Upstream) -> list[int]:
    """How many requests of a few each has got."""
    before = [len(upstream.requests) for upstream in upstreams]
    for turn in range(8):
        assert balancer.ask("/", method=("GET", "POST")[turn % 2], body=b"x" * (turn % 2)).status == 200
    return [len(upstream.requests) - count for upstream, count in zip(upstreams, before, strict=True)]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_before_the_first_answer_visitors_get_the_pool_as_it_was_at_the_start(
    start: Start, upstream: Upstream, names: Names, method: str
) -> None:
    balancer = start(name_port=names.port)
    reply = balancer.ask("/a%20b?c=%20", method=method, body=b"body" * 10000)
    assert reply.status == 200
    [request] = upstream.requests
    assert (request.method, request.visitors_path, request.body) == (method, "/a%20b?c=%20", b"body" * 10000)
    assert request.headers["host"] == "www.example.org:" + str(balancer.port)
    wait_until(lambda: 'server="zope : 127.0.0.1' in balancer.access_log())


def test_before_the_first_answer_a_server_that_refuses_gives_our_own_page(start: Start, names: Names) -> None:
    balancer = start(servers=[PoolServer(1, "127.0.0.1", 1)], name_port=names.port)
    reply = balancer.ask("/")
    assert (reply.status, reply.text) == (502, shipped_error_page())


def test_a_change_is_taken_up_without_a_reload_and_who_was_there_at_the_start_gets_nothing_any_more(
    start: Start, upstream: Upstream, names: Names
) -> None:
    with serving() as second, serving() as third:
        balancer = start(name_port=names.port)
        names.tell(upstream, second)
        wait_until(lambda: len(nginx_processes.workers(balancer.pid)) == 2)
        workers = nginx_processes.workers(balancer.pid)
        assert all(visited(balancer, upstream, second))
        names.tell(second, third)
        assert visited(balancer, upstream, second, third)[0] == 0
        names.tell(third)
        assert visited(balancer, upstream, second, third) == [0, 0, 8]
        assert nginx_processes.workers(balancer.pid) == workers


def test_without_a_server_visitors_get_the_page_and_not_the_servers_of_the_start(
    start: Start, upstream: Upstream, names: Names
) -> None:
    balancer = start(name_port=names.port)
    names.tell()
    for method in ("GET", "POST"):
        reply = balancer.ask("/", method=method)
        assert (reply.status, reply.text) == (502, shipped_error_page())
    assert upstream.requests == []
    names.tell(upstream)
    assert visited(balancer, upstream) == [8]


def test_a_server_that_refuses_is_passed_over_and_none_of_the_start_is_asked_in_its_place(
    start: Start, upstream: Upstream, names: Names
) -> None:
    balancer = start(name_port=names.port)
    with serving() as second:
        names.tell(second)
    reply = balancer.ask("/")
    assert (reply.status, reply.text) == (502, shipped_error_page())
    assert upstream.requests == []


def test_a_reload_keeps_the_servers_though_nobody_answers(start: Start, upstream: Upstream, names: Names) -> None:
    with serving() as second:
        balancer = start(name_port=names.port)
        names.tell(second)
        names.do(lambda: setattr(names.server, "pool", None))  # it says nothing any more
        former = nginx_processes.workers(balancer.pid)
        os.kill(balancer.pid, signal.SIGHUP)
        wait_until(lambda: bool(now := nginx_processes.workers(balancer.pid)) and not now & former)
        assert visited(balancer, upstream, second) == [0, 8]


def test_an_upload_that_was_under_way_goes_to_the_servers_that_there_are_when_it_is_whole(
    start: Start, upstream: Upstream, names: Names
) -> None:
    with serving() as second:
        balancer = start(name_port=names.port)
        names.tell(upstream)
        with socket.create_connection(("127.0.0.1", balancer.port), timeout=WAIT_SECONDS) as client:
            head = b"POST /upload HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 20\r\n\r\n"
            client.sendall(head + b"x" * 10)
            wait_until(lambda: balancer.ask("/").status == 200)
            names.tell(second)
            client.sendall(b"y" * 10)
            assert client.recv(100).startswith(b"HTTP/1.1 200 ")
        assert [request.body for request in second.requests] == [b"x" * 10 + b"y" * 10]


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("POST", 502)])
def test_a_request_whose_server_fails_after_a_change_of_the_pool_is_asked_of_another_one_as_ever(
    start: Start, upstream: Upstream, names: Names, method: str, status: int
) -> None:
    """A POST is not: it may have been done."""
    with ExitStack() as held:
        dying = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        thread = held.enter_context(ThreadPoolExecutor(1))
        balancer = start(name_port=names.port)
        names.tell_ports(*(each.getsockname()[1] for each in dying))
        reply = thread.submit(balancer.ask, "/page", method=method, body=b"x" * (method == "POST"))
        [accepting], _, _ = select.select(dying, [], [], WAIT_SECONDS)
        connection, _ = accepting.accept()
        assert connection.recv(1000)
        second = held.enter_context(serving())
        names.tell(upstream, second)
        connection.close()
        assert reply.result().status == status, balancer.access_log() + balancer.error_log()
    asked = [request.visitors_path for request in upstream.requests + second.requests]
    assert asked == ["/page"] * (status == 200)
