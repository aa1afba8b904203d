"""A connection to the supervisor: HTTP over its Unix socket."""

from __future__ import annotations

import http.client
import select
import socket
import struct
from pathlib import Path

from zenwebserver.machine.identity import Identity


class Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float | None) -> None:
        super().__init__("zenwebserver", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))

    def answers_within(self, seconds: float) -> bool:
        return bool(select.select([self.sock], [], [], seconds)[0])

    def peer(self) -> Identity | None:
        """Who answers: the process that listens there, by the kernel's word (SO_PEERCRED in unix(7))."""
        pid, _uid, _gid = struct.unpack("3i", self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return Identity.of(pid)
