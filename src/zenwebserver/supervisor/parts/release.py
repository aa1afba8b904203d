"""A release: the site's code as it was at one start or restart. Warm, its servers are forked from its zygote."""

from __future__ import annotations

import asyncio
import itertools
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zenwebserver.home import Home
from zenwebserver.machine import files
from zenwebserver.machine.identity import Identity
from zenwebserver.machine.processes import Process
from zenwebserver.settings import Settings
from zenwebserver.supervisor.line import launch
from zenwebserver.supervisor.line.worker import StartError, Worker

logger = logging.getLogger(__name__)

FORK_SECONDS = 30.0
END_SECONDS = 10.0


class Release:
    """`zygote` is None where servers start the ordinary way; `why_ordinary` says why, unless that was asked for."""

    def __init__(self, name: str, home: Home, expect: Callable[[Worker], Worker]) -> None:
        self.name = name
        self.zygote: Worker | None = None
        self.why_ordinary = ""
        self.warm = False
        self._home = home
        self._expect = expect
        self._conf = home.pool_folder / f"release{name}.conf"
        self._log = home.zygote_log
        self._tokens = itertools.count(1)
        self._forked: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def boot(self, settings: Settings, conf: str) -> None:
        """Load the site, where it is to be preloaded and that is safe. Raises StartError with the site's traceback."""
        files.replace(self._conf, conf, mode=0o600)
        if settings.preload == "off":
            return
        try:
            await self._boot_zygote(settings)
        except BaseException:
            self._conf.unlink(missing_ok=True)
            raise

    async def _boot_zygote(self, settings: Settings) -> None:
        log_start = self._log.stat().st_size if self._log.exists() else 0
        process = Process.spawn(
            launch.zygote_arguments(self._home, settings, self.name, self._conf),
            log=self._log,
            folder=self._home.path,
            environment=launch.environment(self._home),
        )
        zygote = self._expect(Worker(process, self._log, log_start))
        try:
            await zygote.until("ready", settings.start_timeout)
        except StartError as error:
            await process.end(signal.SIGKILL, END_SECONDS)
            if zygote.standing["state"] != "unsafe":
                raise StartError(
                    f"the site could not be loaded: it {error.message}",
                    hint=f"Its log: {self._log}",
                    detail=error.detail,
                ) from error
            self.why_ordinary = str(zygote.standing["reason"])
            logger.warning("Release %s: servers start the ordinary way: %s", self.name, self.why_ordinary)
            return
        except BaseException:
            await process.end(signal.SIGKILL, END_SECONDS)
            raise
        self.adopt(zygote)
        logger.info("Release %s is loaded: zygote pid %d", self.name, process.pid)

    def adopt(self, zygote: Worker) -> None:
        """`zygote` is this release's, and ready."""
        self.zygote, self.warm = zygote, True
        zygote.hears = self._hear
        zygote.process.name_in(self._home.pid_file(f"zygote{self.name}"))

    @property
    def can_fork(self) -> bool:
        return self.zygote is not None and self.zygote.process.running

    async def launch(self, settings: Settings, name: str, *, warm_up: bool) -> Worker:
        """A process that becomes server `name`. Raises StartError, OSError."""
        log = self._home.server_log(name)
        log_start = log.stat().st_size if log.exists() else 0
        order = launch.order(self._home, settings, name, release=self.name, warm_up=warm_up)
        if self.warm and not self.can_fork:
            logger.warning("The zygote of release %s is gone; it is loaded anew", self.name)
            await self._boot_zygote(settings)
        if self.can_fork:
            process = await self._fork(order, log)
        else:
            process = Process.spawn(
                launch.arguments(settings, order),
                log=log,
                folder=self._home.path,
                environment=launch.environment(self._home),
            )
        return self._expect(Worker(process, log, log_start))

    async def distrust(self, why: str) -> None:
        """A forked server broke in a way that only the fork explains: from now on each starts the ordinary way."""
        self.warm, self.why_ordinary = False, why
        logger.warning("Release %s: servers start the ordinary way: %s", self.name, why)
        if self.zygote:
            await self.zygote.process.end(signal.SIGTERM, END_SECONDS)

    async def _fork(self, order: dict[str, Any], log: Path) -> Process:
        assert self.zygote
        token = next(self._tokens)
        self._forked[token] = asyncio.get_running_loop().create_future()
        self.zygote.order("fork", token=token, server=order, log=str(log))
        answer, end = self._forked[token], self.zygote.process.exited
        either: list[asyncio.Future[Any]] = [answer, end]
        try:
            await asyncio.wait(either, timeout=FORK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._forked[token]
        if not answer.done():
            what = end.result() if end.done() else f"did not fork within {FORK_SECONDS:g} s"
            raise StartError(f"could not be forked: the zygote of release {self.name} {what}")
        forked = answer.result()
        if not (pid := int(forked["forked_pid"])):
            raise StartError(f"was killed by {signal.Signals(forked['forked_signal']).name}")
        try:
            return Process(Identity.of(pid) or Identity(pid, 0))  # dead already, it still tells how it ended
        except ProcessLookupError:
            raise StartError("ended at once after the fork") from None

    def _hear(self, standing: dict[str, Any]) -> None:
        waiting = self._forked.get(standing.get("forked", 0))
        if waiting and not waiting.done():
            waiting.set_result(standing)

    async def end(self) -> None:
        """Its last server is gone."""
        if self.zygote:
            await self.zygote.process.end(signal.SIGTERM, END_SECONDS)
        self._conf.unlink(missing_ok=True)
        self._home.pid_file(f"zygote{self.name}").unlink(missing_ok=True)
        logger.info("Release %s has ended", self.name)
