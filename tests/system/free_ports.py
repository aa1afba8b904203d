"""Ports that no other test, of this run or of another one, gets meanwhile."""

from __future__ import annotations

import fcntl
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TOGETHER = 50
LOWEST, HIGHEST = 20000, 32000  # below the range from which the kernel gives ports to clients


@contextmanager
def reserved() -> Iterator[int]:
    """The first of so many free ports TOGETHER, reserved by a lock file."""
    for first in range(LOWEST, HIGHEST, TOGETHER):
        lock = (Path(tempfile.gettempdir()) / f"zenwebserver-test-ports-{first}").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        with lock:
            if all(_is_free(port) for port in range(first, first + TOGETHER)):
                yield first
                return
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
