"""Listening Unix sockets: a path is never without one while it is made anew."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def listen_on(path: Path) -> socket.socket:
    """A listening socket at `path`, for its owner alone; bound beside it and renamed, so that a former one is replaced.

    Raises OSError; then the former one stays.
    """
    beside = path.with_name(f".{path.stem}.new")  # no longer than NAME.sock: home.py has made sure of so much room
    beside.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        mask = os.umask(0o177)
        try:
            listener.bind(str(beside))
        finally:
            os.umask(mask)
        listener.listen(128)
        beside.replace(path)
    except BaseException:
        listener.close()
        beside.unlink(missing_ok=True)
        raise
    return listener


class Place:
    """A path at which this process has bound a socket. As long as the socket is open, its inode has no other use."""

    def __init__(self, path: Path) -> None:
        self.path = path
        status = path.stat()
        self._file = status.st_dev, status.st_ino

    @property
    def is_ours(self) -> bool:
        """Whether the socket is still there; somebody may have deleted it, or bound another one."""
        try:
            status = self.path.stat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._file
