"""The processes of a site, played: storage, zygotes and servers that are started, forked, adopted and killed."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fakes import FakeCall, FakeProcess

from zenwebserver.home import Home
from zenwebserver.machine.identity import Identity
from zenwebserver.machine.processes import Process
from zenwebserver.supervisor.line.switchboard import Call
from zenwebserver.worker.messages import (
    VERSION,
    Figures,
    Forked,
    Order,
    OrderName,
    ServerSpec,
    Standing,
    StorageSpec,
    ThreadNow,
    WorkerState,
    ZygoteSpec,
    decode,
)

CALL_SECONDS = 0.2  # between two calls of a process that nobody answers (worker/line.py)
REPORT_SECONDS = 5.0  # between two reports of a server (worker/server.py)


class Machine:
    """Where processes are made and found; it stands for the class Process, and for the kernel's process table.

    `boots` and `loads` say how the site's code behaves in what is started from now on.
    """

    def __init__(self, home: Home) -> None:
        self.home = home
        self.answer: Callable[[Call], None] = lambda _: None  # the supervisor's reception
        self.processes: dict[int, NamedProcess] = {}
        self.servers: list[ServerProcess] = []  # the newest is the last
        self.zygotes: list[ZygoteProcess] = []
        self.storages: list[StorageProcess] = []
        self.boots: Callable[[ServerProcess], None] = lambda server: server.boots()
        self.loads: Callable[[ZygoteProcess], None] = lambda zygote: zygote.loads()
        self.storage_works = True
        self.storage_fails = ""  # of this, where it does not work, in its own words
        self.leave_seconds = 0.0  # until a server that leaves has answered what it had accepted
        self.reports = False  # servers report every few seconds, as real ones do
        self.slow: dict[int, float] = {}  # pid -> seconds until it calls a new supervisor
        self.elsewhere: set[int] = set()  # pids of another home's processes
        self.lacks: OSError | None = None  # what a process that is to be started raises
        self._kernel = Identity.of

    # In the place of machine/processes.py and machine/identity.py.

    def __call__(self, identity: Identity) -> Process:
        if identity.pid not in self.processes:
            raise ProcessLookupError
        return self.processes[identity.pid]

    def adopt(self, identity: Identity) -> Process | None:
        process = self.processes.get(identity.pid)
        return process if process and process.running and process.identity == identity else None

    def identity(self, pid: int) -> Identity | None:
        process = self.processes.get(pid)
        if process is None:
            return self._kernel(pid)
        return process.identity if process.running else None

    def spawn(self, arguments: Sequence[str], **_: Any) -> Process:
        if self.lacks:
            raise self.lacks
        what = json.loads(arguments[-1])
        if "storage" in what:
            storage = StorageProcess(self, decode(StorageSpec, arguments[-1]), arguments[-1])
            self.storages.append(storage)
            storage.calls(0.0)
            return storage
        if "zygote" in what:
            zygote = ZygoteProcess(self, decode(ZygoteSpec, arguments[-1]))
            self.zygotes.append(zygote)
            zygote.calls(0.0)
            return zygote
        return self.server(decode(ServerSpec, arguments[-1]))

    def storage_of_a_version_without_a_line(self) -> StorageProcess:
        """It runs, and calls nobody."""
        self.storages.append(StorageProcess(self, StorageSpec(str(self.home.storage_conf)), '{"storage": "…"}'))
        self.storages[-1].serves()
        return self.storages[-1]

    def started_with(self, part: str, uid: int) -> list[Identity]:
        assert (part, uid) == (self.home.storage_mark, os.geteuid())
        return [each.identity for each in self.storages if each.running and not each.is_hidden]

    def working_folder(self, pid: int) -> Path:
        """A home that was copied while it ran has another's processes with its own words."""
        if pid not in self.elsewhere:
            return self.home.path
        other = Home(self.home.path.parent / "original")
        other.settings_file.parent.mkdir(parents=True, exist_ok=True)
        other.settings_file.touch()
        return other.path

    def last_argument(self, pid: int) -> str:
        return next((storage.argument for storage in self.storages if storage.pid == pid), "")

    def server(self, spec: ServerSpec) -> ServerProcess:
        """A process that is to become a server."""
        server = ServerProcess(self, spec)
        self.servers.append(server)
        server.calls(0.0)
        return server

    def close(self) -> None:
        """Whatever a test that failed has left open."""
        for process in self.servers:
            for each in (process.call.socket, process.call.listener):
                if each:
                    each.close()

    # What a test looks at.

    @property
    def running(self) -> list[NamedProcess]:
        return [process for process in self.processes.values() if process.running]


class NamedProcess(FakeProcess):
    """Its pid file holds what a real one's does."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.machine = machine
        machine.processes[self.pid] = self

    def name_in(self, pid_file: Path) -> None:
        Process.name_in(self, pid_file)


class CallingProcess(NamedProcess):
    """One that calls the supervisor."""

    def __init__(self, machine: Machine, standing: Standing) -> None:
        super().__init__(machine)
        self.call = LineCall(self, dataclasses.replace(standing, pid=self.pid, version=VERSION))
        self.call.leave_seconds = machine.leave_seconds
        self._begun = False

    def begins(self) -> None:
        """It has called for the first time."""

    @property
    def state(self) -> WorkerState:
        return self.call.standing.state

    @property
    def orders(self) -> list[OrderName]:
        return self.call.orders

    def calls(self, seconds: float) -> None:
        """In `seconds`, where it still lives."""
        asyncio.get_running_loop().call_later(seconds, self._call)

    def calls_again(self) -> None:
        """Its supervisor is gone; it passes what it listens on."""
        former = self.call
        former.hung_up = True
        self.call = LineCall(self, former.standing, former.listener)
        former.listener = None
        self.call.leave_seconds, self.call.hears = former.leave_seconds, former.hears
        if former.standing.state is WorkerState.SERVING and former.socket:
            self.call.listener = former.socket.dup()
            self.call.socket, former.socket = former.socket, None
        self.calls(self.machine.slow.get(self.pid, CALL_SECONDS))

    def in_a_moment(self, seconds: float, state: WorkerState) -> None:
        asyncio.get_running_loop().call_later(seconds, self._says, state)

    def fails(self, reason: str = "Traceback\nValueError: broken") -> None:
        self.call.says(WorkerState.FAILED, reason)
        asyncio.get_running_loop().call_soon(self.die, "ended with exit code 1")

    def fails_after(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self.fails)

    def _says(self, state: WorkerState) -> None:
        if self.running:
            self.call.says(state)

    def _call(self) -> None:
        if not self.running:
            self.call.drop_listener()
            return
        self.machine.answer(self.call)
        if not self._begun:
            self._begun = True
            self.begins()


class ServerProcess(CallingProcess):
    """A process of server N."""

    def __init__(self, machine: Machine, spec: ServerSpec) -> None:
        super().__init__(
            machine,
            Standing(WorkerState.STARTING, token=spec.token, server=spec.server, release=spec.release),
        )
        self.spec = spec
        self.silent = False
        self.works_on: list[str] = []  # requests, a thread each; "" for one that is idle
        self.figures = Figures()

    def begins(self) -> None:
        self.machine.boots(self)

    def boots(self, seconds: float = 0.0) -> None:
        self.in_a_moment(seconds, WorkerState.READY)
        if self.machine.reports:
            self._reports_again()

    def says(self, **figures: Any) -> None:
        """Report `figures` now."""
        self.figures = dataclasses.replace(self.figures, **figures)
        self.call.hear(dataclasses.replace(self.call.standing, figures=self.figures))

    def tells_threads(self, *names: str) -> None:
        threads = tuple(map(ThreadNow, names))
        self.call.hear(dataclasses.replace(self.call.standing, threads=threads))
        self.call.standing = dataclasses.replace(self.call.standing, threads=None)

    @property
    def accepts(self) -> bool:
        return self.running and self.state is WorkerState.SERVING and self.call.socket is not None

    def _reports_again(self) -> None:
        if self.running:
            if not self.silent:
                self.says()
            asyncio.get_running_loop().call_later(REPORT_SECONDS, self._reports_again)


class ZygoteProcess(CallingProcess):
    """A process that has loaded a release's code, and forks."""

    def __init__(self, machine: Machine, spec: ZygoteSpec) -> None:
        super().__init__(machine, Standing(WorkerState.STARTING, token=spec.token, zygote=spec.zygote))
        self.conf = Path(spec.zope_conf).read_text()

    def begins(self) -> None:
        self.machine.loads(self)

    def loads(self, seconds: float = 0.0) -> None:
        self.in_a_moment(seconds, WorkerState.READY)

    def is_unsafe(self, why: str) -> None:
        self.call.says(WorkerState.UNSAFE, why)
        asyncio.get_running_loop().call_soon(self.die, "ended with exit code 1")

    def fork(self, spec: ServerSpec) -> None:
        forked = Forked(token=spec.token, pid=self.machine.server(spec).pid)
        asyncio.get_running_loop().call_soon(self.call.hear, dataclasses.replace(self.call.standing, forked=forked))


class StorageProcess(CallingProcess):
    """ZEO: where it works, it serves at once; `argument` is what the kernel says that it was started with."""

    def __init__(self, machine: Machine, spec: StorageSpec, argument: str) -> None:
        super().__init__(machine, Standing(WorkerState.STARTING, token=spec.token, storage=spec.storage))
        self.argument = argument
        self.is_hidden = False  # from whoever looks for it by its command
        self.silent = False
        self.figures = Figures()

    def begins(self) -> None:
        if self.machine.storage_works:
            self.serves()
        elif self.machine.storage_fails:
            self.fails(self.machine.storage_fails)
        else:
            self.die("ended with exit code 1")
        if self.machine.reports:
            self._reports_again()

    def serves(self) -> None:
        self.machine.home.storage_socket.touch()  # a place holder: whereabouts looks whether it is there
        self.call.says(WorkerState.SERVING)

    def hangs(self) -> None:
        """As one that was sent SIGSTOP."""
        self.silent = True
        self.call.hears = False
        self.ignores.add(signal.SIGTERM)

    def _reports_again(self) -> None:
        if self.running:
            if not self.silent:
                self.call.hear(dataclasses.replace(self.call.standing, figures=self.figures))
            asyncio.get_running_loop().call_later(REPORT_SECONDS, self._reports_again)


class LineCall(FakeCall):
    """The call of one of these."""

    process: CallingProcess

    def __init__(self, process: CallingProcess, standing: Standing, listener: socket.socket | None = None) -> None:
        super().__init__(process, standing, listener)
        process.exited.add_done_callback(lambda _: self.drop_listener())  # as the switchboard does

    def says(self, state: WorkerState, reason: str = "") -> None:
        self.standing = dataclasses.replace(self.standing, state=state, reason=reason)
        asyncio.get_running_loop().call_soon(self.hear, self.standing)

    def obey(self, order: Order, listener: socket.socket | None) -> None:
        if order.order is OrderName.FORK:
            assert order.server
            assert isinstance(self.process, ZygoteProcess)
            self.process.fork(order.server)
        elif order.order is OrderName.THREADS and isinstance(self.process, ServerProcess) and self.process.works_on:
            now = tuple(ThreadNow(f"waitress-{n}", request) for n, request in enumerate(self.process.works_on))
            asyncio.get_running_loop().call_soon(self.hear, dataclasses.replace(self.standing, threads=now))
        else:
            super().obey(order, listener)
