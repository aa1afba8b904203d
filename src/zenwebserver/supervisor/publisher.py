"""Tells nginx of the pool, by what it asks for or by a reload, and writes its configuration."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import psutil

from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.machine import files
from zenwebserver.nginx import binary, config
from zenwebserver.nginx.binary import Capabilities
from zenwebserver.settings import Settings
from zenwebserver.supervisor.parts import nginx_processes
from zenwebserver.supervisor.parts.loadbalancer import LoadBalancer
from zenwebserver.supervisor.published import AS_IT_IS, nginx_binary, verified, verify_pool


class Publisher:
    """Which servers nginx is told to send traffic to, and its other files."""

    def __init__(self, home: Home, balancer: LoadBalancer) -> None:
        self._home = home
        self._balancer = balancer

    async def put_pool(self, settings: Settings, servers: Sequence[config.PoolServer]) -> set[psutil.Process]:
        """Tell nginx of `servers`. Returns its workers that still send to others, for `workers_gone`.

        Raises ZenwebserverError; then it has the former ones, which the file names.
        """
        if not self._home.nginx_conf.exists():
            if not self._balancer.serves:
                return set()  # the first start writes it
            await self._restore(settings, servers)
        if self._balancer.serves:
            await self._balancer.settle()
        nginx_conf = self._home.nginx_conf.read_text(encoding="utf-8", errors=AS_IT_IS)
        pool_conf = await self._pool_conf(settings, servers, nginx_conf)
        former = _text(self._home.nginx_pool_conf)
        resolver = config.resolver_of(pool_conf)
        expected = config.resolver_of(former or "") == resolver
        if self._balancer.serves and resolver and await self._balancer.names.asks(expected=expected):
            await self._answer(servers, pool_conf, former)
        else:
            await self._reload(settings, servers, pool_conf, former)
        return self._balancer.outdated_workers()

    def go_on_answering(self, servers: Sequence[config.PoolServer]) -> None:
        """An nginx that was started by an earlier supervisor, and asks for its servers, is answered."""
        if self._balancer.serves and self._balancer.names.port() is not None:
            self._balancer.names.tell(servers)

    def may_not_have_been_read(self) -> bool:
        """Whether the pool's file was written after nginx read it, where nginx does not ask: a reload was cut off."""
        text, master = _text(self._home.nginx_pool_conf), self._balancer.pid
        if text is None or master is None or config.resolver_of(text):
            return False
        try:
            return nginx_processes.all_began_before(master, self._home.nginx_pool_conf.stat().st_mtime)
        except OSError:
            return False

    async def configure(self, settings: Settings, servers: Sequence[config.PoolServer]) -> bool:
        """Write nginx.conf anew, once nginx has verified it. Returns whether it changed. Raises ZenwebserverError."""
        candidate = await verified(self._home, settings, servers)
        # First: nginx.conf may name an upstream that the former file does not have.
        pool_conf = await self._pool_conf(settings, servers, candidate.nginx_conf)
        if not config.fits(_text(self._home.nginx_pool_conf) or "", pool_conf):
            files.replace(self._home.nginx_pool_conf, pool_conf, keep_previous=True)
        if files.holds(self._home.nginx_conf, candidate.nginx_conf):
            return False
        files.replace(self._home.nginx_conf, candidate.nginx_conf, keep_previous=True)
        return True

    async def _restore(self, settings: Settings, servers: Sequence[config.PoolServer]) -> None:
        """Somebody has removed nginx.conf while nginx runs: without it, nginx could not be told of anything."""
        candidate = await verified(self._home, settings, servers)
        files.replace(self._home.nginx_conf, candidate.nginx_conf)
        self._balancer.knows_its_files = False

    async def _pool_conf(self, settings: Settings, servers: Sequence[config.PoolServer], nginx_conf: str) -> str:
        """The pool's file, for an nginx that asks for its servers wherever it can."""
        capabilities = await self._capabilities(settings)
        # Also where it does not ask yet: an nginx that is started now keeps the port from others for when it does.
        port = self._balancer.names.port() if capabilities.asks_for_servers else None
        # One without the pool, which somebody has emptied, says nothing of what the nginx that runs has read.
        says_nothing = str(self._home.nginx_pool_conf) not in nginx_conf
        named = config.can_be_named(servers) and (says_nothing or config.POOL_AT_START in nginx_conf)
        return config.render_pool(
            servers,
            settings,
            capabilities,
            processors=os.cpu_count() or 1,
            name_port=port if named else None,
        )

    async def _capabilities(self, settings: Settings) -> Capabilities:
        """Of the nginx that the settings name; while that cannot be used, of the one that runs, which needs no other.

        Raises ZenwebserverError.
        """
        try:
            return await binary.ask(nginx_binary(settings))
        except ZenwebserverError:
            if (runs := nginx_processes.program(self._balancer.pid)) is None:
                raise
            return await binary.ask(runs)

    async def _answer(self, servers: Sequence[config.PoolServer], pool_conf: str, former: str | None) -> None:
        """It asks once a second; whatever its configuration is by now, it need not read that."""
        names = self._balancer.names
        told = names.told
        changed = pool_conf != former
        if changed:
            files.replace(self._home.nginx_pool_conf, pool_conf, keep_previous=True)
        names.tell(servers)
        try:
            await names.taken_up()
        except (ZenwebserverError, OSError):
            if told is not None:
                names.tell(told)
            if changed and former is not None:
                files.replace(self._home.nginx_pool_conf, former)
            raise

    async def _reload(
        self, settings: Settings, servers: Sequence[config.PoolServer], pool_conf: str, former: str | None
    ) -> None:
        """It reads its configuration, which it verifies first; or it does so when it starts."""
        changed = pool_conf != former
        if changed:
            await verify_pool(self._home, settings, pool_conf)
            files.replace(self._home.nginx_pool_conf, pool_conf, keep_previous=True)
        try:
            if self._balancer.serves and (changed or not self._balancer.knows_its_files):
                await self._balancer.reload()
        except (ZenwebserverError, OSError):
            if changed and former is not None:
                files.replace(self._home.nginx_pool_conf, former)
            raise
        self._balancer.names.tell(servers)


def _text(path: Path) -> str | None:
    """None where there is none, or nothing that could be put back."""
    try:
        return files.read_text(path)
    except (OSError, ZenwebserverError):
        return None
