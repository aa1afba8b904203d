"""Whoever started this process waits to hear how that goes: a command, or the supervisor that it succeeds."""

from __future__ import annotations

import contextlib
import os
import socket
import sys

READY = "ready"
RUNNING = "running"  # another supervisor holds this home
LOADED = "loaded"  # a successor can take over
BEGIN = b"begin\n"  # it is to


class Starter:
    """A command. What it hears last is how the start went; standard error leads to it too, until then."""

    def __init__(self, line: int) -> None:
        self._line: int | None = line

    def tell(self, words: str) -> None:
        """Nothing is told any more once it was ready."""
        if self._line is not None:
            with contextlib.suppress(OSError):  # whoever started us is gone; we go on
                os.write(self._line, f"{words}\n".encode())

    def ready(self) -> None:
        self.tell(READY)
        self._hang_up()

    def _hang_up(self) -> None:
        if self._line is not None:
            os.close(self._line)
            self._line = None
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class Predecessor(Starter):
    """The supervisor that this one succeeds; it has let go of everything once it says so, or is dead."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        os.set_inheritable(line, False)

    def makes_room(self) -> None:
        """Tell that all is loaded, and wait until it is this one's turn."""
        assert self._line is not None
        self.tell(LOADED)
        with socket.socket(fileno=os.dup(self._line)) as line, contextlib.suppress(ConnectionError):
            line.recv(len(BEGIN))
