"""The supervisor's parts and what joins them: the record of the pool, its servers, storage, the load balancer."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from zenwebserver import pool
from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.machine import files
from zenwebserver.machine.files import make_folder
from zenwebserver.machine.identity import Identity
from zenwebserver.machine.processes import Process
from zenwebserver.nginx.config import PoolServer
from zenwebserver.pool import Pool
from zenwebserver.settings import Settings, parse
from zenwebserver.site import zope_conf
from zenwebserver.supervisor import published
from zenwebserver.supervisor.changes import Changes
from zenwebserver.supervisor.line.switchboard import Call, Switchboard
from zenwebserver.supervisor.line.worker import LAST_CALL_SECONDS, Worker
from zenwebserver.supervisor.parts.kept_alive import State
from zenwebserver.supervisor.parts.loadbalancer import LoadBalancer
from zenwebserver.supervisor.parts.release import Release
from zenwebserver.supervisor.parts.server import Server
from zenwebserver.supervisor.parts.storage import Storage

logger = logging.getLogger(__name__)

STRANGER_SECONDS = 5.0


class Supervisor:
    """What runs in one home. Operations change it, one at a time (`changes`)."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.settings: Settings = parse("", home.path)
        self.pool = Pool()
        self.servers: dict[int, Server] = {}
        self.storage = Storage(home, str(self.settings.python))
        self.balancer = LoadBalancer(home)
        self.changes = Changes()
        self.sessions: set[str] = set()  # servers in the foreground: "run", "debug"
        self.storage_is_lent = False  # storage runs for sessions alone
        self.switchboard = Switchboard(home.workers_socket, self._answer)
        self.releases: list[Release] = []  # the newest that has come up is the last
        self._expected: dict[int, Worker] = {}
        self._unexpected: dict[int, Call] = {}
        self._adopting = True

    # Settings and the record.

    def read_settings(self) -> None:
        """Take the settings as they are now. Raises ZenwebserverError; then the former ones stay in force."""
        self._use(published.read_settings(self.home))

    def _use(self, settings: Settings) -> None:
        self.settings = settings
        self.storage.python = str(settings.python)
        self.balancer.binary = published.nginx_binary(settings)
        self.balancer.ports = (settings.http_port, settings.ssl_port) if settings.use_ssl else (settings.http_port,)
        self.balancer.drain_timeout = settings.drain_timeout
        for server in self.servers.values():
            self._set_up(server)

    def read_pool(self) -> None:
        """Take the record as it is on disk. Raises ZenwebserverError."""
        self.pool = pool.load(self.home.pool_record)
        for number in self.pool.numbers:
            self.server(number)

    def record(self, wanted: Pool) -> None:
        """What is asked for from now on, whatever happens next."""
        if wanted != self.pool:
            pool.save(self.home.pool_record, wanted)
            self.pool = wanted

    def server(self, number: int) -> Server:
        """Server `number`, made known where it is not yet."""
        if number not in self.servers:
            address = self.settings.server_address(number)
            self.servers[number] = Server(number, self.home, address, launch=self._launch, given_up=self._give_up)
            self._set_up(self.servers[number])
        return self.servers[number]

    def _set_up(self, server: Server) -> None:
        server.start_timeout = self.settings.start_timeout
        server.drain_timeout = self.settings.drain_timeout
        if server.state in (State.STOPPED, State.FAILED):
            server.address = self.settings.server_address(server.number)

    # The site and its servers.

    def server_conf(self, name: str, client_home: Path, *, debug: bool = False) -> str:
        """The site's zope.conf for one process. Raises ZenwebserverError."""
        return zope_conf.read(self.home.zope_conf).server_conf(
            client_home=client_home, name=name, storage_socket=self.home.storage_socket, debug=debug
        )

    def write_server_conf(self, name: str, *, debug: bool = False) -> str | None:
        """Make etc/zope/zopeNAME.conf and its client home. Returns the former text. Raises ZenwebserverError."""
        make_folder(self.home.client_home(name))
        text = self.server_conf(f"zope{name}", self.home.client_home(name), debug=debug)
        path = self.home.server_conf(name)
        former = path.read_text(encoding="utf-8") if path.exists() else None
        files.replace(path, text, mode=0o600)  # it holds whatever secrets zope.conf holds
        return former

    def write_storage_conf(self) -> bool:
        """Make etc/zope/storage.conf. Returns whether the site needs a storage of ours."""
        site = zope_conf.read(self.home.zope_conf)
        if not site.shared_storages:
            return False
        for data_file in site.data_files:
            make_folder(data_file.parent)
        files.replace(self.home.storage_conf, site.storage_conf(socket=self.home.storage_socket), mode=0o600)
        return True

    def is_new(self) -> bool:
        """Whether no server ever opened this site's database: the first one makes it, alone."""
        site = zope_conf.read(self.home.zope_conf)
        return (self.home.path / "inituser").exists() or not all(path.exists() for path in site.data_files)

    async def new_release(self) -> Release:
        """Load the site's code and configuration as they are now. Raises ZenwebserverError; nothing is changed then."""
        release = Release(str(1 + max((int(each.name) for each in self.releases), default=0)), self.home, self.expect)
        await release.boot(self.settings, self.server_conf("zygote", self.home.var))
        self.releases.append(release)
        return release

    async def retire_releases(self) -> None:
        """Releases end with their last server."""
        used = {server.release for server in self.servers.values() if server.release}
        for release in [each for each in self.releases if each not in used]:
            self.releases.remove(release)
            await release.end()

    async def start_server(self, server: Server, release: Release) -> None:
        """Start it in `release`, with the site's configuration as it is now."""
        if server.state is State.RUNNING:
            return  # it died, and came back while its start was prepared
        self.write_server_conf(server.name)
        self._set_up(server)
        server.release = release
        await server.start()

    async def exchange_server(self, server: Server, release: Release) -> Callable[[], Awaitable[None]]:
        """Exchange its process for one of `release`. Returns what undoes it, until `server.settle()`.

        Where the new one fails, the former goes on, with its published.
        """
        former = self.write_server_conf(server.name)

        async def undo() -> None:
            await server.go_back()
            if former is not None:
                files.replace(self.home.server_conf(server.name), former, mode=0o600)

        try:
            await server.exchange(release)
        except BaseException:
            await undo()
            raise
        return undo

    async def destroy_server(self, number: int) -> None:
        """Drain and end it, and remove what was made for it; a client home that holds something stays."""
        await self.server(number).stop()
        del self.servers[number]
        self.forget_files(str(number))

    def forget_files(self, name: str) -> None:
        self.home.server_conf(name).unlink(missing_ok=True)
        folder = self.home.client_home(name)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

    async def _launch(self, server: Server) -> Worker:
        if not self.home.server_conf(server.name).exists():  # somebody removed it
            self.write_server_conf(server.name)
        assert server.release
        # What died comes back at once, without its pages made first.
        warm_up = server.state is not State.REVIVING
        return await server.release.launch(self.settings, server.name, warm_up=warm_up)

    def expect(self, worker: Worker) -> Worker:
        """The worker's process will call, or has called already."""
        pid = worker.process.pid
        if call := self._unexpected.pop(pid, None):
            worker.answer(call)
        self._expected[pid] = worker
        worker.process.exited.add_done_callback(lambda _: self._forget_later(pid))
        return worker

    def _forget_later(self, pid: int) -> None:
        """Its last call may still be on its way."""
        asyncio.get_running_loop().call_later(LAST_CALL_SECONDS, self._expected.pop, pid, None)

    def calls(self) -> dict[int, Call]:
        """Processes that called though nobody here started them: an earlier supervisor did."""
        return self._unexpected

    def adopted(self) -> None:
        """What an earlier supervisor left is known."""
        self._adopting = False
        for call in self._unexpected.values():
            self._expect_nothing_of(call)

    def _answer(self, call: Call) -> None:
        if worker := self._expected.get(call.pid):
            worker.answer(call)
            return
        self._unexpected[call.pid] = call
        if not self._adopting:
            self._expect_nothing_of(call)

    def _expect_nothing_of(self, call: Call) -> None:
        """A zygote tells in a moment that it has forked this one; else it was booting when the supervisor died."""
        asyncio.get_running_loop().call_later(STRANGER_SECONDS, self._send_away, call)

    def _send_away(self, call: Call) -> None:
        if self._unexpected.get(call.pid) is not call:
            return
        del self._unexpected[call.pid]
        logger.warning("Process %d is nobody's and is ended: %s", call.pid, call.standing)
        call.order("leave", timeout=self.settings.drain_timeout)
        if call.listener:
            call.listener.close()
        if "zygote" in call.standing and (identity := Identity.of(call.pid)) and (zygote := Process.adopt(identity)):
            zygote.send(signal.SIGTERM)

    async def _give_up(self, server: Server) -> None:
        async with self.changes.make(f"taking {server.title} out of the pool"):
            try:
                await self.publish()
            except ZenwebserverError as error:
                logger.error("%s is still in the pool: %s\n%s", server.title, error.message, error.detail)

    # The load balancer's view of the pool.

    def pool_servers(self, *, without: frozenset[int] = frozenset()) -> list[PoolServer]:
        """What nginx is told: the servers that run; the detached ones as a comment."""
        return [
            PoolServer(number, *self.servers[number].address, attached=self.pool.servers[number])
            for number in self.pool.numbers
            if number not in without and number in self.servers and self.servers[number].wanted
        ]

    async def publish(self, *, without: frozenset[int] = frozenset(), wait: bool = False) -> bool:
        """Tell nginx which servers run and are attached. With `wait`, until no worker of it knows the former ones.

        Returns False where workers that know them are still there after the drain timeout. Raises ZenwebserverError.
        """
        if not self.home.nginx_conf.exists():
            return True  # the first start writes it
        changed = await published.put_pool(self.home, self.settings, self.pool_servers(without=without))
        if not changed or self.balancer.state is not State.RUNNING:
            return True
        former = await self.balancer.reload()
        return await self.balancer.workers_gone(former) if wait else True

    async def configure(self) -> bool:
        """Write nginx.conf anew, once nginx has verified it. Returns whether it changed. Raises ZenwebserverError."""
        candidate = await published.verified(self.home, self.settings, self.pool_servers())
        former = self.home.nginx_conf.read_text(encoding="utf-8") if self.home.nginx_conf.exists() else None
        if not self.home.nginx_pool_conf.exists():
            files.replace(self.home.nginx_pool_conf, candidate.pool_conf)
        if candidate.nginx_conf == former:
            return False
        files.replace(self.home.nginx_conf, candidate.nginx_conf, keep_previous=True)
        return True

    @property
    def idle(self) -> bool:
        """Nothing runs and nothing is under way: the supervisor may end."""
        parts = [self.storage, self.balancer, *self.servers.values()]
        return all(part.state in (State.STOPPED, State.FAILED) for part in parts) and not self.sessions


def owner_is_root(home: Path) -> bool:
    return os.geteuid() == 0 and home.stat().st_uid == 0
