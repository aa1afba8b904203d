"""On which addresses visitors are answered, with the real nginx."""

from __future__ import annotations

import socket

import pytest
from echo_upstream import Upstream
from running_nginx import Start


def test_ipv4_and_ipv6_are_served(start: Start, upstream: Upstream) -> None:
    if not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    balancer = start(address="*")
    for address in ("127.0.0.1", "::1"):
        assert balancer.ask("/", address=address).status == 200
    assert upstream.requests[1].headers["x-forwarded-for"] == "::1"
    reply = balancer.send(b"GET / HTTP/1.0\r\n\r\n", host="::1")
    assert reply is not None
    assert upstream.requests[2].path.startswith(f"/VirtualHostBase/http/[::1]:{balancer.port}/")


def test_one_ipv6_address_is_served(start: Start) -> None:
    if not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    assert start(address="::1").ask("/", address="::1").status == 200


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True
