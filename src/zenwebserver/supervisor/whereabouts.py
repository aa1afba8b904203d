"""Where the supervisor, and what it runs, are found: sockets and pid files that somebody deletes are made anew."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from zenwebserver.machine.files import make_folder
from zenwebserver.machine.identity import Identity
from zenwebserver.machine.processes import Process
from zenwebserver.machine.unix_sockets import Place
from zenwebserver.supervisor.control_socket import ControlSocket
from zenwebserver.supervisor.lock import Lock, RunsAlready
from zenwebserver.supervisor.supervisor import Supervisor

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
# Looks. A command holds the lock for a moment too, to see whether a supervisor does (client/client.py).
SURE_OF_ANOTHER = 2


class Whereabouts:
    """`lost` is called where another supervisor holds the home that somebody has put in the place of this one's."""

    def __init__(self, supervisor: Supervisor, lock: Lock, control: ControlSocket, lost: Callable[[], None]) -> None:
        self._supervisor = supervisor
        self._home = supervisor.home
        self._lock = lock
        self._control = control
        self._lost = lost
        own = Identity.of(os.getpid())
        assert own
        self._own = own
        self._switchboard: Place | None = None
        self._cut_off: Process | None = None  # storage that was told to end
        self._away = ""  # where the home went, as it was logged
        self._trouble = ""  # as it was logged

    def take_up(self) -> None:
        """Be found: by servers, and by whoever reads the pid file. Raises OSError."""
        self._open_switchboard()
        self._name(self._home.pid_file("supervisor"), self._own)

    def give_up(self) -> None:
        """Be found no longer, unless another supervisor is found there already."""
        self._supervisor.switchboard.close()
        if self._switchboard and self._switchboard.is_ours:
            self._home.workers_socket.unlink(missing_ok=True)
        if Identity.read(self._home.pid_file("supervisor")) == self._own:
            self._home.pid_file("supervisor").unlink(missing_ok=True)

    async def keep(self) -> None:
        """Look again and again; what cannot be made anew yet is tried again."""
        others = 0
        while others < SURE_OF_ANOTHER:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                self.look()
                others = 0
            except OSError as error:
                self._complain(str(error))
            except RunsAlready:
                others += 1
        logger.critical("%s was replaced, and another supervisor holds it: this one ends", self._home.etc)
        self._lost()
        await asyncio.get_running_loop().create_future()  # until it is ended; the home is not held once more

    def look(self) -> None:
        """Make anew what is gone. Raises OSError, RunsAlready."""
        if not self._home.etc.is_dir():
            self._is_away()  # nothing is made in its place
            return
        self._away = ""
        self._lock.hold()
        make_folder(self._home.run, mode=0o700)
        if self._control.is_lost:
            logger.warning("%s was deleted, and is made anew", self._home.control_socket)
            self._control.open_anew()
        if not (self._switchboard and self._switchboard.is_ours):
            logger.warning("%s was deleted, and is made anew", self._home.workers_socket)
            self._open_switchboard()
        if Identity.read(self._home.pid_file("supervisor")) != self._own:
            self._name(self._home.pid_file("supervisor"), self._own)
        for path, process in self._processes():
            if process.running and not path.exists():
                self._name(path, process.identity)
        self._look_at_storage()

    def _is_away(self) -> None:
        place = self._lock.place
        where = f"was moved to {place.parent}" if place else "was removed"
        if where != self._away:
            logger.error("%s %s: what runs goes on, and what dies does not come back", self._home.path, where)
        self._away = where

    def _open_switchboard(self) -> None:
        self._supervisor.switchboard.open()
        self._switchboard = Place(self._home.workers_socket)

    def _processes(self) -> Iterator[tuple[Path, Process]]:
        """Those that the next supervisor looks for by their pid files."""
        if process := self._supervisor.storage.process:
            yield self._home.pid_file("storage"), process
        for server in self._supervisor.servers.values():
            if server.process:
                yield self._home.pid_file(f"zope{server.number}"), server.process
        for release in self._supervisor.releases:
            if release.zygote:
                yield self._home.pid_file(f"zygote{release.name}"), release.zygote.process

    def _look_at_storage(self) -> None:
        """Servers that start or lose their line would wait for storage for ever: it comes back with a socket."""
        storage = self._supervisor.storage
        if not storage.serves or not storage.process or storage.process is self._cut_off:
            return
        if not self._home.storage_socket.exists():
            logger.error("%s was deleted: storage is ended, and comes back", self._home.storage_socket)
            self._cut_off = storage.process
            storage.process.send(signal.SIGTERM)

    def _name(self, pid_file: Path, identity: Identity) -> None:
        """Without a pid file, where the disk is full, everything goes on."""
        try:
            identity.write(pid_file)
        except OSError as error:
            self._complain(f"{pid_file} could not be written: {error}")

    def _complain(self, trouble: str) -> None:
        if trouble != self._trouble:
            logger.error("%s", trouble)
        self._trouble = trouble
