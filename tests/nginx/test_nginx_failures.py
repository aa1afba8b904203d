"""What visitors get when servers do not answer, with the real nginx."""

from __future__ import annotations

import re
import socket

import pytest
from echo_upstream import Response, Upstream, refusing
from running_nginx import Start

from zenwebserver.nginx.config import PoolServer, shipped_error_page


@pytest.mark.parametrize("method", ["GET", "POST", "PROPFIND"])
def test_an_empty_pool_gives_our_own_page(start: Start, upstream: Upstream, method: str) -> None:
    detached = PoolServer(1, "127.0.0.1", upstream.port, attached=False)
    for servers in ([], [detached]):
        reply = start(servers=servers).ask("/some/page", method=method, headers={"If-None-Match": "*"})
        assert (reply.status, reply.text) == (502, shipped_error_page())
        assert reply.headers["content-type"] == "text/html; charset=utf-8"
        assert (reply.headers["cache-control"], reply.headers["retry-after"]) == ("no-store", "10")
    assert upstream.requests == []


def test_a_pool_in_which_nobody_listens_gives_our_own_page(start: Start) -> None:
    with refusing() as one, refusing() as two:
        balancer = start(servers=[PoolServer(1, "127.0.0.1", one), PoolServer(2, "127.0.0.1", two)])
        for _ in range(3):
            reply = balancer.ask("/")
            assert (reply.status, reply.text) == (502, shipped_error_page())


def test_a_server_that_is_too_slow_gives_our_own_page(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        servers = [PoolServer(1, "127.0.0.1", silent.getsockname()[1])]
        reply = start("readTimeout 1\n", servers).ask("/", method="POST", body=b"x")
    assert (reply.status, reply.text) == (504, shipped_error_page())


@pytest.mark.parametrize("status", [404, 500, 502, 503, 504])
def test_an_error_page_of_the_server_itself_passes(start: Start, upstream: Upstream, status: int) -> None:
    upstream.answer = lambda _: Response(status, {"X-Mine": "yes"}, b"Zope's own page")
    reply = start().ask("/")
    assert (reply.status, reply.text, reply.headers["x-mine"]) == (status, "Zope's own page", "yes")


def test_the_page_is_not_an_address_of_its_own(start: Start) -> None:
    reply = start().ask("/zenwebserver_50x.html")
    assert (reply.status, reply.text == shipped_error_page()) == (404, False)


def test_the_page_needs_nothing_from_elsewhere() -> None:
    assert re.findall(r"(?:src|url\(|@import|https?:)", shipped_error_page()) == []
    assert "prefers-color-scheme: dark" in shipped_error_page()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_server_that_refuses_is_passed_over(start: Start, upstream: Upstream, method: str) -> None:
    with refusing() as closed:
        servers = [PoolServer(1, "127.0.0.1", closed), PoolServer(2, "127.0.0.1", upstream.port)]
        balancer = start(servers=servers)
        replies = [balancer.ask("/", method=method, body=b"body") for _ in range(8)]
    assert {reply.status for reply in replies} == {200}
    assert len(upstream.requests) == 8


def test_a_post_that_a_server_took_and_dropped_is_not_sent_twice(start: Start, upstream: Upstream) -> None:
    # max_conns is not ours; the dropping server is asked first because both are idle and it stands first.
    with socket.create_server(("127.0.0.1", 0)) as dropping:
        dropping.settimeout(20)
        balancer = start(
            servers=[
                PoolServer(1, "127.0.0.1", dropping.getsockname()[1]),
                PoolServer(2, "127.0.0.1", upstream.port),
            ]
        )
        raw = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"
        with socket.create_connection(("127.0.0.1", balancer.port), timeout=20) as visitor:
            visitor.sendall(raw)
            connection, _ = dropping.accept()
            with connection:
                assert connection.recv(65536)
            assert visitor.recv(65536).startswith(b"HTTP/1.1 502 ")
    assert upstream.requests == []


def test_the_detached_server_gets_nothing(start: Start, upstream: Upstream) -> None:
    with socket.create_server(("127.0.0.1", 0)) as detached:
        detached.setblocking(False)
        other = PoolServer(1, "127.0.0.1", detached.getsockname()[1], attached=False)
        balancer = start(servers=[other, PoolServer(2, "127.0.0.1", upstream.port)])
        for _ in range(6):
            assert balancer.ask("/").status == 200
        with pytest.raises(BlockingIOError):
            detached.accept()


def test_the_access_log_tells_which_server_answered(start: Start, upstream: Upstream) -> None:
    balancer = start()
    balancer.ask("/logged?x=1", {"User-Agent": 'a"b'})
    balancer.stop()
    line = balancer.access_log().splitlines()[-1]
    assert line.startswith("127.0.0.1 - - [")
    assert f'server="127.0.0.1:{upstream.port}"' in line
    assert '"GET /logged?x=1 HTTP/1.1" 200' in line
    assert '"a\\x22b"' in line


def test_nginx_writes_nothing_outside_the_home_and_warns_of_nothing(start: Start, upstream: Upstream) -> None:
    balancer = start()
    balancer.ask("/", method="POST", body=b"x" * 1_000_000)
    assert balancer.home.nginx_pid.exists()
    assert {path.name for path in balancer.home.path.parent.iterdir()} == {"home"}
    balancer.stop()
    assert not [line for line in balancer.error_log().splitlines() if "[warn]" in line and "buffered" not in line]
