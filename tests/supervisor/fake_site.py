"""A whole site: a real supervisor in a real home; its processes and nginx are played (fake_machine, fake_nginx)."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from fake_machine import Machine, ServerProcess
from fake_nginx import CAPABILITIES, FakeBalancer
from fakes import FakeProcess, soon, takes_connections

from zenwebserver.home import Home
from zenwebserver.machine.identity import Identity
from zenwebserver.nginx import binary, control
from zenwebserver.site.create import create
from zenwebserver.supervisor import adoption
from zenwebserver.supervisor import supervisor as supervisors
from zenwebserver.supervisor.api import Api
from zenwebserver.supervisor.line import reception
from zenwebserver.supervisor.parts import forks, release, storage
from zenwebserver.supervisor.parts.server import Server
from zenwebserver.supervisor.report import Event, Report
from zenwebserver.supervisor.supervisor import Supervisor
from zenwebserver.supervisor.tasks import Tasks

PORTS_OF_A_SITE = 20
MOST_SERVERS = PORTS_OF_A_SITE - 1


class Asked:
    """An operation that was asked for, and what it has told so far; it goes on by itself, and can be awaited."""

    def __init__(self, events: list[Event], task: asyncio.Task[None]) -> None:
        self.events = events
        self.task = task

    def __await__(self) -> Generator[Any, None, Asked]:
        yield from self.task
        return self

    @property
    def ended(self) -> bool:
        return self.task.done()

    @property
    def last(self) -> Event:
        return self.events[-1]

    @property
    def exit(self) -> int:
        """Its exit code; only its last event has one."""
        assert [event for event in self.events if "exit" in event] == self.events[-1:], self.events
        return int(self.last["exit"])

    @property
    def done(self) -> str:
        assert self.exit == 0, self.last
        return str(self.last["done"])

    @property
    def error(self) -> str:
        assert self.exit, self.last
        return str(self.last["error"])

    @property
    def notes(self) -> list[str]:
        return [event["note"] for event in self.events if "note" in event]

    @property
    def steps(self) -> dict[str, bool]:
        """The steps that have ended, and whether well."""
        return {event["end"]: event["ok"] for event in self.events if "end" in event}


class FakeSite:
    """`supervisor` is the one that runs now; `machine` has the processes, `balancer` is nginx."""

    def __init__(self, home: Home, base: int) -> None:
        self.home = home
        self.base = base
        self.machine = Machine(home)
        self.moved_to: Path | None = None  # where its folder `etc` is now
        self.idle = 0  # how often the supervisor was told that something has ended, and nothing was left
        home.make_folders()
        home.nginx_template.write_text("# An admin's own, which is rendered in no time.\n")
        self.set()
        create(home)
        (home.path / "inituser").unlink()
        (home.var / "filestorage" / "Data.fs").write_bytes(b"FS30" + b"of a transaction")
        self.begin()

    def begin(self) -> None:
        """A supervisor begins; it has adopted nothing yet."""
        self.tasks = Tasks()
        self.supervisor = Supervisor(self.home, self.tasks)
        self.supervisor.read_settings()
        self.supervisor.ended = self._ended
        self.api = Api(self.supervisor, self._ended, self._upgrade, self._make_room, lambda: self.moved_to)
        self.machine.answer = self.supervisor.reception.answer

    def set(self, **settings: object) -> None:
        """Write the settings; they hold from the next operation on."""
        all_of_them: dict[str, object] = {
            "httpAddress": "127.0.0.1",
            "httpPort": self.base,  # taken by the test (`free_base`); nginx, which would bind it, is played
            "serverBasePort": self.base,
            "maxServers": MOST_SERVERS,
            **settings,
        }
        self.home.settings_file.write_text("".join(f"{key} {value}\n" for key, value in all_of_them.items()))

    def _ended(self) -> None:
        self.idle += self.supervisor.idle and self.supervisor.changes.idle

    async def _upgrade(self, _: Report, python: str) -> str:
        return "Upgraded"

    def _make_room(self) -> None:
        raise AssertionError("no command of an earlier version asks here")

    # What an admin does.

    def do(self, name: str, **what: Any) -> Asked:
        """Ask for an operation, as a command does."""
        events: list[Event] = []
        return Asked(events, self.tasks.do(name, self.api.operate(name, what, Report(events.append))))

    async def ok(self, name: str, **what: Any) -> Asked:
        asked = await self.do(name, **what)
        assert asked.exit == 0, asked.events
        return asked

    async def started(self, servers: int = 2) -> None:
        """`servers` servers, storage and nginx run."""
        await self.ok("deploy", size=str(servers))
        await self.ok("start")

    # What is there.

    @property
    def balancer(self) -> FakeBalancer:
        return cast(FakeBalancer, self.supervisor.balancer)

    def server(self, number: int) -> Server:
        return self.supervisor.servers[number]

    def processes(self, number: int) -> list[ServerProcess]:
        """All that server `number` has had, the newest last."""
        return [process for process in self.machine.servers if process.spec.server == str(number)]

    def process(self, number: int) -> ServerProcess:
        return self.processes(number)[-1]

    def process_with(self, pid: int | None) -> ServerProcess:
        return next(process for process in self.machine.servers if process.pid == pid)

    def nginx_knows(self, number: int) -> bool:
        """Whether any worker of nginx may still send to it."""
        return self.balancer.knows(self.base + number)

    def listens(self, number: int) -> bool:
        return takes_connections(("127.0.0.1", self.base + number))

    def conf(self, name: object) -> Path:
        return self.home.server_conf(str(name))

    def pids(self) -> dict[int, int | None]:
        return {number: server.pid for number, server in sorted(self.supervisor.servers.items())}

    def recorded(self) -> list[int]:
        """The servers that the record on disk asks for."""
        return list(supervisors.pool.load(self.home.pool_record).numbers)

    def releases(self) -> list[str]:
        """By the files that an admin finds."""
        return sorted(path.stem.removeprefix("release") for path in self.home.pool_folder.glob("release*.conf"))

    async def supervisor_dies(self) -> None:
        """What runs goes on; another supervisor begins, and is called."""
        former = self.supervisor
        nginx = self.balancer.process
        await self.tasks.end()
        for server in former.servers.values():
            server._listener.close()
        self.begin()
        if isinstance(nginx, FakeProcess) and nginx.running:
            self.balancer.left = nginx
        for process in (*self.machine.storages, *self.machine.zygotes, *self.machine.servers):
            if process.running and process.call.standing.token:
                process.calls_again()

    async def end(self) -> None:
        """It can be stopped, whatever was before, and nothing of it is left."""
        self.balancer.finishes = 0.0
        self.balancer.finish()
        await self.ok("stop")
        await soon()
        assert self.machine.running == []
        assert [path.name for path in self.home.run.glob("*.pid")] == []
        assert self.releases() == []
        assert not any(self.listens(number) for number in range(1, PORTS_OF_A_SITE))
        assert self.supervisor.idle
        assert self.supervisor.changes.idle
        await self.tasks.end()


def free_base() -> socket.socket:
    """Listens on the first of a site's ports, below those that the kernel gives to clients; so they are reserved."""
    while True:
        base = random.randrange(10000, 19900, PORTS_OF_A_SITE)
        reservation = socket.socket()
        try:
            reservation.bind(("127.0.0.1", base))
            reservation.listen()
        except OSError:
            reservation.close()
        else:
            return reservation


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSite]:
    """One with a database and the settings' defaults, where nothing runs. Its home's path is short."""
    monkeypatch.setattr(supervisors, "LoadBalancer", FakeBalancer)

    async def capabilities(_: Path) -> object:
        return CAPABILITIES

    monkeypatch.setattr(binary, "ask", capabilities)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # no test here loses power
    with free_base() as reservation:
        site = FakeSite(Home.at(tmp_path_factory.mktemp("s") / "home"), reservation.getsockname()[1])
        for module in (adoption, forks, reception, release, storage):
            monkeypatch.setattr(module, "Process", site.machine)
        for name in ("started_with", "last_argument"):
            monkeypatch.setattr(storage, name, getattr(site.machine, name))
        monkeypatch.setattr(Identity, "of", staticmethod(site.machine.identity))
        monkeypatch.setattr(Identity, "works_in", lambda identity, _: identity.pid not in site.machine.elsewhere)
        monkeypatch.setattr(control, "verify", lambda *what, **how: site.balancer.verify(*what, **how))
        yield site
        site.machine.close()
        for server in site.supervisor.servers.values():
            server._listener.close()
