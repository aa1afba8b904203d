"""What nginx is answered when it asks for its servers."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from dnslib import DNSRecord
from fakes import soon

from zenwebserver.nginx.config import MOST_NAMED, PoolServer
from zenwebserver.supervisor.parts.name_server import QUESTION, NameServer

ONE, TWO = PoolServer(1, "127.0.0.1", 9081), PoolServer(2, "127.0.0.1", 9082)
NGINX_READS = 4096  # bytes of an answer


class Asker:
    """nginx's resolver, played."""

    def __init__(self, server: NameServer) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(("127.0.0.1", server.port))
        self.socket.setblocking(False)
        self.port = self.socket.getsockname()[1]

    async def sends(self, packet: bytes) -> bytes:
        """The answer; empty where none comes."""
        self.socket.send(packet)
        await soon()
        try:
            return self.socket.recv(65535)
        except BlockingIOError:
            return b""

    async def asks(self, name: str, kind: str) -> DNSRecord | None:
        packet = await self.sends(DNSRecord.question(name, kind).pack())
        return DNSRecord.parse(packet) if packet else None

    async def pool(self) -> tuple[list[int], str]:
        """The servers' ports, and the name that they have."""
        answer = await self.asks(QUESTION, "SRV")
        assert answer
        assert all(record.ttl == 0 for record in answer.rr), "nginx asks again in a second"
        names = {str(record.rdata.target) for record in answer.rr}
        assert len(names) == 1
        return [record.rdata.port for record in answer.rr], names.pop()


@contextmanager
def conversation() -> Iterator[tuple[NameServer, Asker]]:
    server = NameServer()
    asker = Asker(server)
    try:
        yield server, asker
    finally:
        asker.socket.close()
        server.close()


async def test_a_pool_is_the_servers_that_are_attached_and_all_at_the_loopback_address() -> None:
    with conversation() as (server, asker):
        server.tell([ONE, TWO, PoolServer(3, "127.0.0.1", 9083, attached=False)])
        ports, name = await asker.pool()
        assert ports == [9081, 9082]
        answer = await asker.asks(name, "A")
        assert answer
        assert [(str(record.rdata), record.ttl) for record in answer.rr] == [("127.0.0.1", 0)]


async def test_before_it_knows_the_pool_it_says_nothing() -> None:
    with conversation() as (server, asker):
        assert await asker.asks(QUESTION, "SRV") is None
        server.tell([ONE])
        assert (await asker.pool())[0] == [9081]


async def test_without_a_server_it_names_a_port_at_which_nobody_can_listen() -> None:
    with conversation() as (server, asker):
        server.tell([PoolServer(1, "127.0.0.1", 9081, attached=False)])
        ports, name = await asker.pool()
        assert ports == [0]
        assert await asker.asks(name, "A")


async def test_a_pool_is_taken_up_by_who_asks_for_its_name_and_that_is_new_with_each_pool() -> None:
    with conversation() as (server, asker):
        server.tell([ONE])
        _, first = await asker.pool()
        assert server.taken_up == set()
        await asker.asks(first, "A")
        assert server.taken_up == {asker.port}
        server.tell([ONE])
        assert server.taken_up == {asker.port}, "it is the same"
        server.tell([ONE, TWO])
        assert server.taken_up == set()
        answer = await asker.asks(first, "A")
        assert answer
        assert answer.rr, "nginx has just read that one; without an address it would have no server"
        assert server.taken_up == set()
        _, second = await asker.pool()
        assert second != first
        await asker.asks(second, "A")
        assert server.taken_up == {asker.port}


@pytest.mark.parametrize(
    ("name", "kind"), [("example.org", "A"), (QUESTION, "TXT"), ("_ftp._tcp.zope.pool", "SRV"), ("zope.pool", "A")]
)
async def test_what_is_none_of_nginxs_questions_is_not_answered(name: str, kind: str) -> None:
    with conversation() as (server, asker):
        server.tell([ONE])
        assert await asker.asks(name, kind) is None


async def test_nonsense_is_ignored_and_the_next_question_answered() -> None:
    rng = random.Random(8)
    question = DNSRecord.question(QUESTION, "SRV").pack()
    with conversation() as (server, asker):
        server.tell([ONE])
        for _ in range(500):
            broken = bytearray(question)
            for _ in range(rng.randrange(1, 6)):
                broken[rng.randrange(len(broken))] = rng.randrange(256)
            await asker.sends(bytes(broken[: rng.randrange(len(broken)) + 1]))
            await asker.sends(os.urandom(rng.randrange(0, 600)))
        reply = DNSRecord.question(QUESTION, "SRV").reply().pack()
        assert await asker.sends(reply) == b"", "an answer is no question: two of us would go on for ever"
        assert (await asker.pool())[0] == [9081]


async def test_who_has_gone_before_the_answer_comes_disturbs_nobody() -> None:
    with conversation() as (server, asker):
        server.tell([ONE])
        for _ in range(3):
            gone = Asker(server)
            gone.socket.send(DNSRecord.question(QUESTION, "SRV").pack())
            gone.socket.close()
            await soon()
        assert (await asker.pool())[0] == [9081]


async def test_as_many_servers_as_are_ever_named_have_room_in_what_nginx_reads() -> None:
    with conversation() as (server, asker):
        server.tell([PoolServer(number, "127.0.0.1", 60000 + number) for number in range(1, MOST_NAMED + 1)])
        answer = await asker.sends(DNSRecord.question(QUESTION, "SRV").pack())
        assert len(DNSRecord.parse(answer).rr) == MOST_NAMED
        assert len(answer) < NGINX_READS
