"""The control socket, where commands ask the supervisor: there from the first life in this process to the last."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from zenwebserver.machine.unix_sockets import Place, listen_on
from zenwebserver.supervisor.gate import Gate

logger = logging.getLogger(__name__)

LAST_WORDS_SECONDS = 5.0  # for answers that are under way when the supervisor ends


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: a signal means `stop` here."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class ControlSocket:
    """Its path leads to this process while it is open: made anew, it goes on to answer what it was asked before."""

    def __init__(self, path: Path, over: Callable[[], None]) -> None:
        self.gate = Gate(over)
        self._path = path
        self._place: Place | None = None
        self._server: _Server | None = None
        self._serving: set[asyncio.Task[None]] = set()  # the last that was opened, and those that answer to their end

    @property
    def is_there(self) -> bool:
        return self._place is not None and self._place.is_ours and self._server is not None

    @property
    def is_lost(self) -> bool:
        """It is not there, though nobody has taken it away on purpose."""
        return not self.gate.is_shut and not self.is_there

    def open(self, api: ASGIApp) -> None:
        """`api` answers from now on, at the path. Raises OSError."""
        self.gate.open(api)
        if not self.is_there:
            self.open_anew()

    def open_anew(self) -> None:
        """Somebody has taken the path away. Raises OSError."""
        listener = listen_on(self._path)
        try:
            self._place = Place(self._path)
        except OSError:  # taken away again
            listener.close()
            raise
        self._retire()
        # No bound on the end: a restart that is being followed goes on.
        server = _Server(uvicorn.Config(self.gate, log_config=None, lifespan="off"))
        self._server = server
        task = asyncio.get_running_loop().create_task(server.serve(sockets=[listener]), name="The control socket")
        self._serving.add(task)
        task.add_done_callback(lambda task: self._ended(task, server))
        task.add_done_callback(lambda _: listener.close())  # uvicorn does not, where it is cut off

    def take_away(self) -> None:
        """From here on a command starts the next supervisor, and whoever has asked too late is sent on to it."""
        self.gate.shut()
        if self.is_there:
            self._path.unlink(missing_ok=True)
        self._place = None

    async def close(self) -> None:
        """Returns when everybody has had the whole answer; that is cut off where it takes too long."""
        self.take_away()
        self._retire()
        if self._serving:
            await asyncio.wait(self._serving, timeout=LAST_WORDS_SECONDS)
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)

    def _retire(self) -> None:
        """It accepts nobody any more."""
        if self._server:
            self._server.should_exit = True
            self._server = None

    def _ended(self, task: asyncio.Task[None], server: _Server) -> None:
        self._serving.discard(task)
        if server is self._server:
            self._server = None
        if not task.cancelled() and (error := task.exception()):
            logger.critical("The control socket failed, which is a defect", exc_info=error)
