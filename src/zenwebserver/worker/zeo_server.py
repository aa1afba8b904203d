"""ZEO's server (runzeo) that says when it serves, ends between two requests, and notices that it cannot serve any more.

It is ZEO 5's or 6's, from the site's environment, which may have none: nobody imports this file but who needs it.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any, Callable

from ZEO.runzeo import ZEOOptions, ZEOServer
from ZODB.POSException import POSKeyError
from ZODB.utils import maxtid, z64

from . import data_files
from .data_files import DataFile
from .unopened import Misconfigured, Unopened
from .zodb.guards import guard_storage

logger = logging.getLogger(__name__)


def server(conf: str, *, serves: Callable[[Server], None], leaves: Callable[[], None]) -> Server:
    """The server that `conf` describes. Raises Misconfigured."""
    guard_storage()
    options = Options()
    options.realize(["-C", conf])
    return Server(options, serves, leaves)


class Options(ZEOOptions):  # type: ignore[misc]
    """ZEO's own would say it on stderr alone, and exit."""

    def usage(self, msg: object) -> None:
        raise Misconfigured(str(msg))


class Server(ZEOServer):  # type: ignore[misc]
    """`serves` and `leaves` are told when it does; `broken` says why it has ended with exit code 1."""

    def __init__(self, options: Any, serves: Callable[[Server], None], leaves: Callable[[], None]) -> None:
        super().__init__(options)
        self.broken = ""
        self._complained = False
        self._serves = serves
        self._leaves = leaves

    def open_storages(self) -> None:
        """Raises Unopened, which knows the files, and DataMissing."""
        conf, files = self.options.configfile, self._data_files()
        data_files.refuse_missing(conf, files)
        self.storages = {}
        for opener in self.options.storages:
            try:
                self.storages[opener.name] = opener.open()
            except Exception as error:
                paths = tuple(file.path for file in data_files.of(opener.config))
                raise Unopened(opener.name, paths) from error
        data_files.note_opened(conf, files)

    def _data_files(self) -> list[DataFile]:
        return [file for opener in self.options.storages for file in data_files.of(opener.config)]

    def create_server(self) -> None:
        with _private():
            super().create_server()

    def loop_forever(self) -> None:
        self._serves(self)
        super().loop_forever()

    # ZEO's own handlers raise SystemExit wherever it is, in the middle of a commit too.

    def handle_sigterm(self) -> None:
        self._in_the_loop(self._leave)

    handle_sigint = handle_sighup = handle_sigterm

    def look(self, looked: Callable[[], None]) -> None:
        """Have the loop read something of each storage, as it would for a client, and call `looked`; in any thread."""
        self._in_the_loop(self._look, looked)

    def _in_the_loop(self, function: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(AttributeError, RuntimeError):  # it does not run yet, or any more
            self.server.acceptor.event_loop.call_soon_threadsafe(function, *arguments)

    def _leave(self) -> None:
        self._leaves()
        raise SystemExit(0)  # out of the loop; `main` closes what is open

    def _look(self, looked: Callable[[], None]) -> None:
        for name, storage in self.storages.items():
            try:
                why_not = unreadable(storage)
            except Exception:
                if not self._complained:
                    logger.exception("The root of storage %r cannot be read", name)
                self._complained, why_not = True, ""
            if why_not:
                self.broken = f"storage {name!r} cannot be read any more: {why_not}"
                raise SystemExit(1)
        looked()


def unreadable(storage: Any) -> str:
    """Why it cannot answer anybody; empty: it can.

    A FileStorage closes itself where the end of a commit cannot be written, and goes on as a closed one. Raises
    whatever else a storage raises.
    """
    try:
        storage.loadBefore(z64, maxtid)
    except POSKeyError:  # it is empty
        pass
    except ValueError as error:
        return str(error)
    return ""


@contextlib.contextmanager
def _private() -> Iterator[None]:
    """What is made meanwhile is the owner's alone."""
    former = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(former)
