"""The storage process: the site's ZEO server, which calls the supervisor, tells how it stands, and closes cleanly.

Where the supervisor dies it goes on serving, and calls the next one.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING

from .line import Line
from .messages import Figures, Order, OrderName, Standing, StorageSpec, WorkerState, decode
from .unopened import why

if TYPE_CHECKING:
    from .zeo_server import Server

logger = logging.getLogger(__name__)

# Seconds between two reports.
REPORT_SECONDS = 5.0
# Seconds that threads, such as one that packs, may go on after the storages are closed.
EXIT_SECONDS = 10


def main(argument: str) -> int:
    return StorageProcess(decode(StorageSpec, argument)).run()


class StorageProcess:
    """Opens what its configuration names, serves it, leaves when told."""

    def __init__(self, spec: StorageSpec) -> None:
        self._spec = spec
        self._server: Server | None = None
        self._asked_at = 0.0  # when its loop was asked for a sign of life that has not come yet; 0: it was not
        standing = Standing(WorkerState.STARTING, token=spec.token, storage=spec.storage)
        self._line = Line(spec.supervisor, standing, self._take_order)

    def run(self) -> int:
        """Returns the exit code."""
        if self._spec.supervisor:
            self._line.run_in_thread()
            threading.Thread(target=self._report, name="zenwebserver-figures", daemon=True).start()
        try:
            from . import zeo_server

            server = zeo_server.server(self._spec.storage, serves=self._serves, leaves=self._leaves)
            server.main()
        except SystemExit as end:
            if not end.code:
                return _end()
            return self._failed((self._server and self._server.broken) or f"it ended with exit code {end.code}")
        except BaseException as error:  # noqa: BLE001 - whatever it is, the admin wants to see it
            reason = why(error)
            text = traceback.format_exc()
            code = self._failed(reason or text)
            sys.stderr.write(text)
            return code
        return _end()

    def _failed(self, reason: str) -> int:
        self._line.tell_at_last(WorkerState.FAILED, reason)  # first: the disk of the log may be full
        sys.stderr.write(reason.rstrip() + "\n")
        return 1

    def _serves(self, server: Server) -> None:
        self._server = server
        self._line.tell(WorkerState.SERVING)

    def _leaves(self) -> None:
        self._line.tell(WorkerState.LEAVING)

    def _take_order(self, order: Order, _: socket.socket | None) -> None:
        """Called in the line's thread."""
        if order.order is OrderName.LEAVE:
            os.kill(os.getpid(), signal.SIGTERM)  # while it opens its files, that ends it at once
        else:
            logger.warning("Storage does not %s: the order is ignored", order.order)

    def _report(self) -> None:
        while True:
            self._line.mention(figures=Figures(all_busy_seconds=self._stuck_seconds()))
            time.sleep(REPORT_SECONDS)

    def _stuck_seconds(self) -> float:
        """For how long it has been at work on one thing, so that nobody else is answered."""
        if self._server is None:
            return 0.0
        if self._asked_at:
            return time.monotonic() - self._asked_at
        self._asked_at = time.monotonic()
        self._server.look(self._has_looked)
        return 0.0

    def _has_looked(self) -> None:
        self._asked_at = 0.0


def _end() -> int:
    logging.shutdown()
    faulthandler.dump_traceback_later(EXIT_SECONDS, exit=True)
    return 0
