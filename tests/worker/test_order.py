"""A visitor's next request, on another server, sees what was stored."""

from __future__ import annotations

import fcntl
import pickle
import signal
import socket
import struct
import termios
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from transaction import TransactionManager
from zeo_storage import SECONDS, Storage, wait_until
from ZODB.utils import p64, z64

TIMES = 5


class Server:
    """A client of storage, as it is on the wire: what it is told, and in which order."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(SECONDS)
        self._socket.connect(address)
        self._file = self._socket.makefile("rb")
        self._read()
        self._send(b"Z5")
        self.ask("register", "main", True)
        self.heard()

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def ask(self, method: str, *arguments: Any) -> None:
        self._send(pickle.dumps((1, False, method, arguments), protocol=3))

    def heard(self) -> list[str]:
        """Up to the answer to what was asked."""
        heard = []
        while not heard or heard[-1] != ".reply":
            heard.append(pickle.loads(self._read())[2])
        return heard

    def _send(self, message: bytes) -> None:
        self._socket.sendall(struct.pack(">I", len(message)) + message)

    def _read(self) -> bytes:
        (length,) = struct.unpack(">I", self._file.read(4))
        return self._file.read(length)


@pytest.fixture
def server(storage: Storage) -> Iterator[Server]:
    server = Server(storage.address)
    yield server
    server.close()


def waits_to_be_read(client: Any) -> bool:
    """What it has sent to storage; tcp(7), SIOCOUTQ."""
    pipe = client._server.client.protocol.sm_protocol.transport.get_extra_info("socket")
    return bool(struct.unpack("i", fcntl.ioctl(pipe.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0])


def test_a_server_that_asks_hears_of_the_last_commit_before_the_answer(storage: Storage, server: Server) -> None:
    """Also where storage reads both, the end of the commit and the question, in one round of its loop."""
    writer, serial = storage.client(), z64
    for _ in range(TIMES):
        transaction = TransactionManager().begin()
        writer.tpc_begin(transaction)
        writer.store(p64(1), serial, b"", "", transaction)
        writer.tpc_vote(transaction)
        storage.signal(signal.SIGSTOP)
        finish = threading.Thread(target=writer.tpc_finish, args=(transaction,))
        try:
            finish.start()
            wait_until(lambda: waits_to_be_read(writer), "the commit is to be read")
            server.ask("ping")
        finally:
            storage.signal(signal.SIGCONT)
            finish.join()
        assert server.heard() == ["invalidateTransaction", ".reply"]
        serial = writer.lastTransaction()
