"""When nginx has taken a pool up: a worker of ours has asked for it, and has read the answer."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from dnslib import DNSRecord
from fakes import soon

from zenwebserver.errors import ZenwebserverError
from zenwebserver.nginx.config import PoolServer
from zenwebserver.supervisor.parts import nginx_names
from zenwebserver.supervisor.parts.name_server import QUESTION
from zenwebserver.supervisor.parts.nginx_names import NginxNames

POOL = [PoolServer(1, "127.0.0.1", 9081)]
MASTER = 1  # its workers are played
SECONDS = 0.1  # for which it is waited for, here


class Resolver:
    """That of a worker, which is this process; it reads when a test says so."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setblocking(False)

    async def asks(self, name: str, kind: str) -> None:
        self.socket.send(DNSRecord.question(name, kind).pack())
        await soon()

    def reads(self) -> DNSRecord:
        return DNSRecord.parse(self.socket.recv(65535))

    async def asks_for_the_pool(self) -> None:
        """It has read all but the last answer."""
        await self.asks(QUESTION, "SRV")
        await self.asks(str(self.reads().rr[0].rdata.target), "A")


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The pids of those that accept."""
    monkeypatch.setattr(nginx_names, "TAKE_UP_SECONDS", SECONDS)
    monkeypatch.setattr(nginx_names, "FIRST_QUESTION_SECONDS", SECONDS)
    workers = {os.getpid()}
    monkeypatch.setattr(nginx_names.nginx_processes, "workers", lambda _: [SimpleNamespace(pid=pid) for pid in workers])
    return workers


@contextmanager
def asked() -> Iterator[tuple[NginxNames, Resolver]]:
    """An nginx that asks."""
    master: list[int] = []
    names = NginxNames(lambda: master[0] if master else None)
    port = names.port()
    assert port
    master.append(MASTER)
    resolver = Resolver(port)
    try:
        yield names, resolver
    finally:
        resolver.socket.close()
        names.close()


async def is_taken_up(names: NginxNames) -> bool:
    try:
        await names.taken_up()
    except ZenwebserverError as error:
        assert error.message == f"nginx did not ask for its servers within {SECONDS:g} s"
        return False
    return True


async def test_a_pool_is_taken_up_when_the_last_answer_has_been_read(workers: set[int]) -> None:
    with asked() as (names, resolver):
        names.tell(POOL)
        assert not await is_taken_up(names)
        await resolver.asks_for_the_pool()
        assert not await is_taken_up(names), "it may still send to those of before"
        resolver.reads()
        assert await is_taken_up(names)


async def test_who_is_no_worker_of_this_nginx_does_not_count(workers: set[int]) -> None:
    with asked() as (names, resolver):
        names.tell(POOL)
        await resolver.asks_for_the_pool()
        resolver.reads()
        workers.clear()
        assert not await is_taken_up(names)
        assert not await names.asks(expected=True)
        workers.add(os.getpid())
        assert await is_taken_up(names)
        assert await names.asks(expected=True)


async def test_an_nginx_that_does_not_keep_the_port_is_not_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int | None] = [None]
    monkeypatch.setattr(nginx_names.datagrams, "held", lambda _: held[0])
    names = NginxNames(lambda: MASTER)
    assert names.port() is None
    with asked() as (others, _):
        held[0] = others.port()
        assert names.port() == held[0], "as the supervisor before it, which has gone"
    names.close()


async def test_a_worker_that_has_chosen_a_server_of_before_has_the_time_to_connect_to_it() -> None:
    with asked() as (names, _):
        begun = asyncio.get_running_loop().time()
        await names.connected()
        assert asyncio.get_running_loop().time() - begun >= nginx_names.CONNECT_SECONDS
