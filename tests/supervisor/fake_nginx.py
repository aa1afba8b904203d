"""nginx, played: it reads its files when it is told to, and former workers finish when a test says so."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fakes import FakeProcess

from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.nginx.binary import Capabilities
from zenwebserver.nginx.config import PoolServer, resolver_of
from zenwebserver.supervisor.parts.kept_alive import KeptAlive
from zenwebserver.supervisor.parts.state import State
from zenwebserver.supervisor.tasks import Tasks

CAPABILITIES = Capabilities(version=(1, 31, 0), ssl=True, http2=True)
NAME_PORT = 20999


class NginxWorkers:
    """Those of one configuration; they send to the servers at `ports` until they are gone."""

    def __init__(self, ports: frozenset[int]) -> None:
        self.ports = ports
        self.gone = asyncio.Event()


class FakeNames:
    """What nginx asks for (parts/nginx_names.py): it asks once a second, where its configuration says so."""

    def __init__(self, balancer: FakeBalancer) -> None:
        self.usable = False  # else the nginx that runs is one that must be reloaded
        self.hears = True  # else it does not ask
        self.told: tuple[PoolServer, ...] | None = None
        self._balancer = balancer

    def port(self) -> int | None:
        return NAME_PORT if self.usable else None

    def tell(self, servers: Sequence[PoolServer]) -> None:
        if self.usable:
            self.told = tuple(server for server in servers if server.attached)

    async def asks(self, *, expected: bool) -> bool:
        return self._balancer.asks_for_servers

    async def taken_up(self) -> None:
        if not self.hears:
            await asyncio.sleep(10.0)
            raise ZenwebserverError("nginx did not ask for its servers within 10 s")
        await asyncio.sleep(1.0)
        assert self._balancer.workers
        self._balancer.workers.ports = frozenset(server.port for server in self.told or ())

    def close(self) -> None:
        self.told = None


class FakeBalancer(KeptAlive):
    """The load balancer's interface (parts/loadbalancer.py)."""

    def __init__(self, home: Home, tasks: Tasks) -> None:
        super().__init__("Load balancer", tasks)
        self.binary = Path()
        self.ports: tuple[int, ...] = ()
        self.leaving = SimpleNamespace(drain_timeout=600.0)
        self.was_killed = False
        self.knows_its_files = False
        self.names = FakeNames(self)
        self.reload_pause = 0.0
        self.asks_for_servers = False  # the configuration that it has read says so
        self.home = home
        self.workers: NginxWorkers | None = None
        self.former: list[NginxWorkers] = []
        self.finishes: float | None = 0.0  # seconds in which former workers finish; None: when a test says so
        self.stop_seconds = 0.0
        self.keeps_its_configuration = ""  # nginx's words at a reload
        self.does_not_start = ""
        self.rejects = ""  # nginx's words when it verifies
        self.left: FakeProcess | None = None  # what an earlier supervisor left running
        self.reloads = 0
        self.upgrades = 0
        self.needs_exchange = False  # it does not take its configuration up by a reload
        self.can_be_exchanged = True  # else it is only reloaded

    def knows(self, port: int) -> bool:
        """Whether any of its workers may still send to a server."""
        workers = [*self.former, *([self.workers] if self.workers and self.serves else [])]
        return any(port in each.ports for each in workers if not each.gone.is_set())

    def finish(self) -> None:
        """Its former workers have answered what they held."""
        for each in self.former:
            each.gone.set()
        self.former.clear()

    async def verify(self, *_: Any, **__: Any) -> None:
        """In the place of nginx/control.py."""
        if self.rejects:
            raise ZenwebserverError("nginx rejects the configuration", hint="Nothing was changed.", detail=self.rejects)

    # The interface.

    async def adopt(self) -> None:
        if self.left:
            self._read_files()
            self.knows_its_files = False
            self._runs(self.left)

    async def settle(self) -> None:
        """There is one."""

    async def claim_ports(self) -> None:
        pass

    async def reload(self) -> bool:
        self.knows_its_files = False
        if self.keeps_its_configuration:
            raise ZenwebserverError(
                "nginx keeps its former configuration",
                hint="It goes on serving as before.",
                detail=self.keeps_its_configuration,
            )
        if self.needs_exchange:
            return await self.upgrade()
        self.reloads += 1
        self._let_go_workers()
        self._read_files()
        return False

    def outdated_workers(self) -> set[NginxWorkers]:
        return {each for each in self.former if not each.gone.is_set()}

    async def workers_gone(self, workers: Iterable[NginxWorkers]) -> bool:
        waits = [asyncio.ensure_future(each.gone.wait()) for each in workers]
        if not waits:
            return True
        try:
            _, late = await asyncio.wait(waits, timeout=self.leaving.drain_timeout)
        finally:
            for wait in waits:
                wait.cancel()
        return not late

    async def upgrade(self) -> bool:
        self.upgrades += 1
        self._let_go_workers()
        self._read_files()
        return self.can_be_exchanged

    async def stop(self) -> None:
        await self._end_recovery()
        self._become(State.STOPPING)
        await asyncio.sleep(self.stop_seconds)
        if isinstance(self.process, FakeProcess):
            self.process.die("ended with exit code 0")
        self._clear()
        self._become(State.STOPPED)

    async def _boot(self) -> None:
        if self.does_not_start:
            raise ZenwebserverError("nginx did not start: it ended with exit code 1", detail=self.does_not_start)
        self._read_files()
        self._runs(FakeProcess())

    def _clear(self) -> None:
        self.process = None

    def _read_files(self) -> None:
        text = self.home.nginx_pool_conf.read_text()
        self.workers = NginxWorkers(
            frozenset(map(int, re.findall(r"^ +server 127\.0\.0\.1:(\d+) max_fails", text, re.MULTILINE)))
        )
        self.asks_for_servers = bool(resolver_of(text))
        self.knows_its_files = True

    def _let_go_workers(self) -> None:
        assert self.workers
        self.former.append(self.workers)
        if self.finishes is not None:
            asyncio.get_running_loop().call_later(self.finishes, self._have_finished, self.workers)

    def _have_finished(self, workers: NginxWorkers) -> None:
        workers.gone.set()
        if workers in self.former:
            self.former.remove(workers)
