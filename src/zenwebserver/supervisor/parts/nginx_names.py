"""nginx asks for its servers, where it can: it is told of a change without a reload, and seen to have taken it up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from zenwebserver.errors import ZenwebserverError
from zenwebserver.machine import datagrams
from zenwebserver.nginx.config import PoolServer
from zenwebserver.supervisor.parts import nginx_processes
from zenwebserver.supervisor.parts.name_server import NameServer

logger = logging.getLogger(__name__)

# Seconds. nginx asks once in one; where it had no answer, within two.
TAKE_UP_SECONDS = 10.0
FIRST_QUESTION_SECONDS = 4.0
LOOK_AGAIN_SECONDS = 0.01
CONNECT_SECONDS = 0.2


class NginxNames:
    """`master` is the pid of the nginx that serves, if one does."""

    def __init__(self, master: Callable[[], int | None]) -> None:
        self._master = master
        self._server: NameServer | None = None

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What an nginx that is started inherits: as long as it lives, nobody else can answer it."""
        return (self._server.holder.fileno(),) if self._server else ()

    @property
    def told(self) -> tuple[PoolServer, ...] | None:
        """The pool that nginx is answered."""
        return self._server.pool if self._server else None

    def port(self) -> int | None:
        """Where nginx is to ask. None where the one that runs does not keep the port from others, or none is free."""
        master = self._master()
        held = datagrams.held(master) if master else None
        if master and held is None:
            return None
        if self._server and held not in (None, self._server.port):
            self.close()
        if self._server is None:
            try:
                self._server = NameServer(held or 0)
            except OSError as error:
                logger.error("nginx cannot ask for its servers at port %s: %s", held, error)
                return None
        return self._server.port

    def tell(self, servers: Sequence[PoolServer]) -> None:
        """Whoever asks from now on is answered `servers`."""
        if self._server:
            self._server.tell(servers)

    async def asks(self, *, expected: bool) -> bool:
        """Whether the configuration that nginx has read asks here; where that is `expected`, it is waited for."""
        deadline = asyncio.get_running_loop().time() + (FIRST_QUESTION_SECONDS if expected else 0.0)
        while not (found := bool(self._askers())) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
        return found

    async def taken_up(self) -> None:
        """Until nginx sends to those alone of whom it was told last. Raises ZenwebserverError."""
        try:
            async with asyncio.timeout(TAKE_UP_SECONDS):
                while not self._is_taken_up():
                    await asyncio.sleep(LOOK_AGAIN_SECONDS)
        except TimeoutError:
            raise ZenwebserverError(
                f"nginx did not ask for its servers within {TAKE_UP_SECONDS:g} s",
                hint="It goes on with those that it had. To start it anew: zenwebserver restart loadbalancer",
            ) from None

    async def connected(self) -> None:
        """A worker that had chosen a server just before another pool was taken up has connected to it by then."""
        if self._server:
            await asyncio.sleep(CONNECT_SECONDS)

    def close(self) -> None:
        if self._server:
            self._server.close()
            self._server = None

    def _is_taken_up(self) -> bool:
        """A worker that accepts has read the last answer; it has told the others by then, through their memory."""
        server = self._server
        if server is None or not server.taken_up:
            return False
        return any(not datagrams.has_unread(asker, server.port) for asker in server.taken_up & self._askers())

    def _askers(self) -> set[int]:
        """Their ports; other users cannot be among them, nor workers that leave."""
        master = self._master()
        if master is None or self._server is None:
            return set()
        return datagrams.speakers((each.pid for each in nginx_processes.workers(master)), self._server.port)
