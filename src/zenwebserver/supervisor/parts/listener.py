"""A server's listening socket, which outlives the processes behind it."""

from __future__ import annotations

import socket

from zenwebserver.machine.ports import bind


class Listener:
    """Bound when it is first needed; it listens from the first process that accepts until it is closed."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self._socket: socket.socket | None = None

    def bound(self) -> socket.socket:
        """Raises CannotBind."""
        if self._socket is None:
            self._socket = bind(*self.address)
        return self._socket

    def adopt(self, found: socket.socket) -> None:
        """One that an earlier supervisor bound: where it listens counts, whatever the settings say by now."""
        self._socket = found
        self.address = found.getsockname()[:2]

    def close(self) -> None:
        """Where no process has it any more, connections are refused, so that nginx goes elsewhere at once."""
        if self._socket:
            self._socket.close()
            self._socket = None
