"""The pool as names: what nginx is answered when it asks which servers there are (DNS: SRV, then A).

nginx asks once a second, since nothing that it is told is valid for longer. Each pool has a name of its own, which
nginx asks for only when it has read that pool; so it is known who has taken it up.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import suppress

from dnslib import QTYPE, RR, SRV, A, DNSError, DNSRecord

from zenwebserver.machine import datagrams
from zenwebserver.nginx.config import POOL_NAME, POOL_SERVICE, PoolServer

QUESTION = f"_{POOL_SERVICE}._tcp.{POOL_NAME}."
LONGEST_QUESTION = 512  # bytes; what is longer is none of nginx's
AT_ONCE = 64  # questions that are read before others have their turn
# Nobody can listen on port 0: visitors get the 50x page at once, where an answer without servers would leave it to
# nginx what to do.
NO_SERVER = 0


class NameServer:
    """A socket on the loopback address that nginx asks. It answers nothing before it was told of a pool."""

    def __init__(self, port: int = 0) -> None:
        """Raises OSError where another user has the port."""
        self._socket = datagrams.bind(port)
        self.port: int = self._socket.getsockname()[1]
        try:
            self.holder = datagrams.hold(self.port)  # for nginx: while that lives, nobody else answers in our place
        except BaseException:
            self._socket.close()
            raise
        self.pool: tuple[PoolServer, ...] | None = None
        self.taken_up: set[int] = set()  # the ports of those who have read the pool that they are answered now
        self._name = ""
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def tell(self, servers: Sequence[PoolServer]) -> None:
        """From now on these are the pool; detached ones are left out."""
        pool = tuple(server for server in servers if server.attached)
        if pool != self.pool:
            self.pool, self.taken_up = pool, set()
            self._name = f"{secrets.token_hex(4)}.{POOL_NAME}."

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self.holder.close()

    def _read(self) -> None:
        with suppress(BlockingIOError):
            for _ in range(AT_ONCE):
                try:
                    question, (_, port) = self._socket.recvfrom(LONGEST_QUESTION)
                except ConnectionError:  # somebody has gone before we answered
                    continue
                if answer := self._answer(question, port):
                    self._socket.sendto(answer, (datagrams.LOOPBACK, port))

    def _answer(self, packet: bytes, port: int) -> bytes | None:
        """None where nothing is to be said."""
        try:
            asked = DNSRecord.parse(packet)
        except DNSError:
            return None
        if self.pool is None or asked.header.qr or len(asked.questions) != 1:
            return None
        reply = asked.reply(ra=0)
        name, kind = str(asked.q.qname).lower(), asked.q.qtype
        if name == QUESTION and kind == QTYPE.SRV:
            for server_port in [server.port for server in self.pool] or [NO_SERVER]:
                reply.add_answer(RR(asked.q.qname, QTYPE.SRV, ttl=0, rdata=SRV(0, 1, server_port, self._name)))
        elif name.endswith(f".{POOL_NAME}.") and kind == QTYPE.A:
            # A former pool's name is answered, too: otherwise nginx, which has just read it, would have no server.
            reply.add_answer(RR(asked.q.qname, QTYPE.A, ttl=0, rdata=A(datagrams.LOOPBACK)))
            if name == self._name:
                self.taken_up.add(port)
        else:
            return None
        return bytes(reply.pack())
