"""The supervisor's parts and what joins them: the record of the pool, its servers, storage, the load balancer."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil

from zenwebserver import pool
from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.machine import files
from zenwebserver.machine.files import make_folder
from zenwebserver.machine.identity import working_folder
from zenwebserver.nginx.config import PoolServer
from zenwebserver.pool import Pool
from zenwebserver.settings import Settings, parse
from zenwebserver.site import create, zope_conf, zope_ini
from zenwebserver.supervisor import published
from zenwebserver.supervisor.changes import Changes
from zenwebserver.supervisor.line.reception import Reception
from zenwebserver.supervisor.line.switchboard import Switchboard
from zenwebserver.supervisor.line.worker import Worker
from zenwebserver.supervisor.membership import Membership
from zenwebserver.supervisor.parts.loadbalancer import LoadBalancer
from zenwebserver.supervisor.parts.release import Release
from zenwebserver.supervisor.parts.server import Server
from zenwebserver.supervisor.parts.storage import Storage
from zenwebserver.supervisor.publisher import Publisher
from zenwebserver.supervisor.tasks import Tasks

logger = logging.getLogger(__name__)

# Seconds. A reload closes each visitor's HTTP/2 connection; a browser survives one, but not always two at once.
RELOAD_PAUSE_WITH_TLS = 5.0


class Supervisor:
    """What runs in one home. Operations change it, one at a time (`changes`)."""

    def __init__(self, home: Home, tasks: Tasks) -> None:
        self.home = home
        self.tasks = tasks
        self.settings: Settings = parse("", home.path)
        self.pool = Pool()
        self.servers: dict[int, Server] = {}
        self.balancer = LoadBalancer(home, tasks)
        self.publisher = Publisher(home, self.balancer)
        self.membership = Membership(home, self.publisher)
        self.changes = Changes()
        self.sessions: set[str] = set()  # servers in the foreground: "run", "debug"
        self.storage_is_lent = False  # storage runs for sessions alone
        self.reception = Reception(lambda call: not home.is_other_than(working_folder(call.pid)))
        self.storage = Storage(home, self.reception, tasks)
        self.switchboard = Switchboard(home.workers_socket, self.reception.answer, tasks)
        self.releases: list[Release] = []  # the newest that has come up is the last
        self.ended: Callable[[], None] = lambda: None  # told when something has ended; perhaps all has

    # Settings and the record.

    def read_settings(self) -> None:
        """Take the settings as they are now. Raises ZenwebserverError; then the former ones stay in force."""
        self.use(published.read_settings(self.home))

    def use(self, settings: Settings) -> None:
        """`settings` are in force from now on. Raises ZenwebserverError; then the former ones stay."""
        for server in self.servers.values():
            if server.rests:
                settings.server_address(server.number)
        self.settings = settings
        self.storage.python = str(settings.python)
        self.balancer.binary = published.nginx_binary(settings)
        self.balancer.ports = (settings.http_port, settings.ssl_port) if settings.use_ssl else (settings.http_port,)
        self.balancer.leaving.drain_timeout = settings.drain_timeout
        self.balancer.reload_pause = RELOAD_PAUSE_WITH_TLS if settings.use_ssl else 0.0
        self.reception.drain_timeout = settings.drain_timeout
        for server in self.servers.values():
            self._set_up(server)

    def read_pool(self) -> None:
        """Take the record as it is on disk. Raises ZenwebserverError."""
        if not self.home.pool_record.exists() and any(server.wanted for server in self.servers.values()):
            return  # somebody removed it: what it said is known
        recorded = pool.load(self.home.pool_record)
        for number in recorded.numbers:
            self.server(number)
        self.pool = recorded

    def record(self, wanted: Pool) -> None:
        """What is asked for from now on, whatever happens next."""
        if wanted != self.pool or not self.home.pool_record.exists():
            pool.save(self.home.pool_record, wanted)
            self.pool = wanted

    def server(self, number: int) -> Server:
        """Server `number`, made known where it is not yet. Raises ZenwebserverError where it can have no port."""
        if number not in self.servers:
            server = Server(
                number,
                self.settings.server_address(number),
                pid_file=self.home.pid_file(f"zope{number}"),
                tasks=self.tasks,
                launch=self._launch,
                given_up=self._give_up,
                left=lambda _: self._one_left(),
            )
            self._set_up(server)
            self.servers[number] = server
        return self.servers[number]

    def _set_up(self, server: Server) -> None:
        server.start_timeout = self.settings.start_timeout
        server.leaving.drain_timeout = self.settings.drain_timeout
        if server.rests:
            server.address = self.settings.server_address(server.number)

    # The site and its servers.

    def server_conf(self, name: str, client_home: Path, *, debug: bool = False) -> str:
        """The site's zope.conf for one process. Raises ZenwebserverError."""
        return zope_conf.read(self.home.zope_conf).server_conf(
            client_home=client_home, name=name, storage_socket=self.home.storage_socket, debug=debug
        )

    def write_server_conf(self, name: str, *, debug: bool = False) -> str | None:
        """Make etc/zope/zopeNAME.conf and its client home. Returns the former text. Raises ZenwebserverError."""
        text = self.server_conf(f"zope{name}", self.home.client_home(name), debug=debug)  # first: is there a home?
        make_folder(self.home.client_home(name))
        path = self.home.server_conf(name)
        try:
            former = files.read_text(path)
        except (FileNotFoundError, ZenwebserverError):  # there is none, or nothing that could be put back
            former = None
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
        return create.is_new(self.home, zope_conf.read(self.home.zope_conf).data_files)

    def release(self, name: str) -> Release:
        """Release `name`, made known where it is not yet."""
        for release in self.releases:
            if release.name == name:
                return release
        self.releases.append(Release(name, self.home, self.reception, self.tasks))
        return self.releases[-1]

    async def new_release(self) -> Release:
        """Load the site's code and configuration as they are now. Raises ZenwebserverError; nothing is changed then."""
        zope_ini.check(self.home.zope_ini)
        name = str(1 + max((int(each.name) for each in self.releases), default=0))
        release = Release(name, self.home, self.reception, self.tasks)
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
        """Start it in `release`, with the site's configuration as it is now.

        Raises ZenwebserverError, OSError; one that was coming back goes on so, in its own release.
        """
        if server.serves or server.resume():
            return  # it came back while its start was prepared, or had not left yet
        former = server.release
        text = self.write_server_conf(server.name)
        try:
            self._set_up(server)
            server.release = release
            await server.start()
        except BaseException:
            if server.comes_back:
                server.release = former
                self._put_back(server, text)
            raise

    async def exchange_server(self, server: Server, release: Release) -> Callable[[], Awaitable[None]]:
        """Exchange its process for one of `release`. Returns what undoes it, until `server.settle()`.

        Where the new one fails, the former goes on, with its configuration.
        """
        former = self.write_server_conf(server.name)

        async def undo() -> None:
            try:
                self._put_back(server, former)
            finally:
                await server.go_back()

        try:
            await server.exchange(release)
        except BaseException:
            try:
                await undo()
            except (ZenwebserverError, OSError) as error:
                logger.error("%s", error)  # what it failed of in the first place is what the admin is told
            raise
        return undo

    def _put_back(self, server: Server, former: str | None) -> None:
        """Its configuration, where it had one."""
        if former is not None:
            files.replace(self.home.server_conf(server.name), former, mode=0o600)

    def forget_server(self, number: int) -> None:
        """It does not exist any more; a client home that holds something stays."""
        self.forget_files(str(number))
        if not self.servers[number].leaving:
            del self.servers[number]

    def forget_files(self, name: str) -> None:
        self.home.server_conf(name).unlink(missing_ok=True)
        folder = self.home.client_home(name)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

    def _one_left(self) -> None:
        for number, server in list(self.servers.items()):
            if number not in self.pool.servers and server.rests:
                self.forget_server(number)
        self.ended()

    async def _launch(self, server: Server) -> Worker:
        if not self.home.server_conf(server.name).exists():  # somebody removed it
            self.write_server_conf(server.name)
        assert server.release
        # What died comes back at once, without its pages made first.
        return await server.release.launch(self.settings, server.name, warm_up=not server.comes_back)

    async def _give_up(self, server: Server) -> None:
        async with self.changes.make(f"taking {server.title} out of the pool"):
            try:
                await self.publish()
            except ZenwebserverError as error:
                logger.error("%s is still in the pool: %s\n%s", server.title, error.message, error.detail)

    # The load balancer's view of the pool.

    def pool_servers(self, *, without: frozenset[int] = frozenset()) -> list[PoolServer]:
        """What nginx is told: the servers that serve or come back; the detached ones as a comment."""
        return [
            PoolServer(number, *self.servers[number].address, attached=self.pool.servers[number])
            for number in self.pool.numbers
            if number not in without and number in self.servers and self.servers[number].wanted
        ]

    async def publish(self, *, without: frozenset[int] = frozenset()) -> set[psutil.Process]:
        """Tell nginx which servers serve and are attached. Returns its workers that still know the former ones.

        Raises NotPublished.
        """
        return await self.membership.tell(self.settings, self.pool_servers(without=without))

    def nginx_knows_the_pool(self, *, without: frozenset[int] = frozenset()) -> bool:
        """Whether nginx was last told of just those servers that are attached and serve or come back."""
        return self.membership.holds(self.pool_servers(without=without))

    def nginx_sends_to(self, server: Server) -> bool | None:
        """Whether nginx sends visitors to it, be it attached or not; None where that is not known."""
        return self.membership.has(PoolServer(server.number, *server.address)) if self.balancer.serves else None

    async def configure(self) -> bool:
        """Write nginx.conf anew, once nginx has verified it. Returns whether it changed. Raises ZenwebserverError."""
        return await self.publisher.configure(self.settings, self.pool_servers())

    def let_go(self) -> None:
        """Another supervisor adopts what runs: nothing that is listened on is held open here."""
        self.switchboard.close()
        self.balancer.names.close()
        for server in self.servers.values():
            server.let_go()

    @property
    def idle(self) -> bool:
        """Nothing runs, leaves, or is under way: the supervisor may end."""
        parts = [self.storage, self.balancer, *self.servers.values()]
        leaving = any(server.leaving for server in self.servers.values())
        return all(part.rests for part in parts) and not (leaving or self.sessions or self.releases)
