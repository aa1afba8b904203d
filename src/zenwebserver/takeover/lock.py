"""Only one install or uninstall works in a home at a time; what the system refuses it is told in words."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from zenwebserver.errors import UsageError, ZenwebserverError
from zenwebserver.home import Home


@contextmanager
def alone(home: Home) -> Iterator[None]:
    """A lock on the home's folder itself: gone with the process, however that ends, and it leaves no file."""
    try:
        descriptor = os.open(home.path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise UsageError(
            f"There is no home at {home.path}: {error.strerror}",
            hint="Set ZENHOME to the home of your Zenoss or Zope site.",
        ) from error
    try:
        _lock(descriptor)
        with _told():
            yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ZenwebserverError(
            "Another install or uninstall works in this home.",
            hint="Repeat the command when that one is done.",
        ) from error


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename2 or error.filename or "the home"
        raise ZenwebserverError(
            f"{where}: {error.strerror or error}",
            hint="What was done so far is on record: repeat the command to go on from there, "
            "or undo it with `zenwebserver uninstall`.",
        ) from error
