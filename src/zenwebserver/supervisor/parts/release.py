"""A release: the site's code as it was at one start or restart. Warm, its servers are forked from its zygote."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path

from zenwebserver.errors import told
from zenwebserver.home import Home
from zenwebserver.machine import files
from zenwebserver.machine.processes import Process
from zenwebserver.settings import Settings
from zenwebserver.supervisor.line import launch
from zenwebserver.supervisor.line.reception import Reception
from zenwebserver.supervisor.line.worker import StartError, Worker
from zenwebserver.supervisor.parts.forks import Forks, ZygoteLost
from zenwebserver.supervisor.tasks import Tasks
from zenwebserver.worker.messages import ServerSpec, WorkerState

logger = logging.getLogger(__name__)

END_SECONDS = 10.0


class ReleaseState(StrEnum):
    NEW = "new"
    LOADING = "loading"  # its zygote loads the site
    WARM = "warm"  # servers are forked from its zygote
    COLD = "cold"  # its zygote is gone, and is loaded again when it is next needed
    ORDINARY = "ordinary"  # each server loads the site by itself
    ENDED = "ended"


R = ReleaseState
MAY_BECOME: Mapping[ReleaseState, frozenset[ReleaseState]] = {
    R.NEW: frozenset({R.LOADING, R.WARM, R.COLD, R.ORDINARY, R.ENDED}),  # WARM, COLD, ORDINARY: adopted
    R.LOADING: frozenset({R.WARM, R.COLD, R.ORDINARY, R.ENDED}),
    R.WARM: frozenset({R.COLD, R.ORDINARY, R.ENDED}),
    R.COLD: frozenset({R.LOADING, R.WARM, R.ORDINARY, R.ENDED}),
    R.ORDINARY: frozenset({R.ENDED}),
    R.ENDED: frozenset(),
}


class Release:
    """`why_ordinary` says why its servers start the ordinary way, unless that was asked for."""

    def __init__(self, name: str, home: Home, reception: Reception, tasks: Tasks) -> None:
        self.name = name
        self.state = ReleaseState.NEW
        self.zygote: Worker | None = None
        self.why_ordinary = ""
        self._home = home
        self._reception = reception
        self._tasks = tasks
        self._conf = home.pool_folder / f"release{name}.conf"
        self._trial = home.run / f"release{name}.trial"
        self._loading: asyncio.Task[StartError | None] | None = None
        self._forks = Forks(name)

    def _become(self, state: ReleaseState) -> None:
        """The one transition from state to state."""
        if state not in MAY_BECOME[self.state]:
            raise RuntimeError(f"Release {self.name} cannot become {state}: it is {self.state}")
        logger.info("Release %s: %s, now %s", self.name, self.state, state)
        self.state = state

    @property
    def forks(self) -> bool:
        """Whether a server can be forked at once."""
        return self.state is ReleaseState.WARM

    @property
    def warm(self) -> bool:
        """Whether its servers are forked, though its zygote may have to be loaded again for that."""
        return self.state in (ReleaseState.WARM, ReleaseState.COLD, ReleaseState.LOADING)

    @property
    def on_trial(self) -> bool:
        """A restart to it has not ended: whether it holds is not known, also to a supervisor that finds it so."""
        return self._trial.exists()

    def begin_trial(self) -> None:
        """Raises OSError."""
        self._trial.touch()

    def end_trial(self) -> None:
        """It holds."""
        self._trial.unlink(missing_ok=True)

    async def boot(self, settings: Settings, conf: str) -> None:
        """Load the site, where it is to be preloaded and that is safe. Raises StartError with the site's traceback."""
        files.replace(self._conf, conf, mode=0o600)
        if settings.preload == "off":
            self._become(ReleaseState.ORDINARY)
            return
        try:
            await self._load(settings)
        except BaseException:
            await self.end()
            raise

    def adopt(self, zygote: Worker) -> None:
        """An earlier supervisor's zygote of this release, ready.

        One that speaks no version would die of an order, and a second one is not needed: they are ended.
        """
        if zygote.standing.version and self.state in (ReleaseState.NEW, ReleaseState.COLD):
            self._has_loaded(zygote)
        else:
            zygote.process.send(signal.SIGKILL)
            self.adopt_without_zygote(warm=True)

    def adopt_without_zygote(self, *, warm: bool) -> None:
        """An earlier supervisor's release of which only servers are left."""
        if self.state is ReleaseState.NEW:
            self._become(ReleaseState.COLD if warm and self._conf.exists() else ReleaseState.ORDINARY)

    async def launch(self, settings: Settings, name: str, *, warm_up: bool) -> Worker:
        """A process that becomes server `name`. Raises StartError, OSError."""
        for last in (False, True):
            if not await self._can_fork(settings):
                break
            try:
                return await self._launch(settings, name, self._fork, warm_up=warm_up)
            except ZygoteLost as error:
                if last:
                    raise
                logger.warning("Server %s %s", name, error)
        if self.state is ReleaseState.ENDED:
            raise self._has_ended()
        return await self._launch(settings, name, partial(self._start, settings), warm_up=warm_up)

    async def distrust(self, why: str) -> None:
        """A forked server broke in a way that only the fork explains: from now on each starts the ordinary way."""
        if self.state is not ReleaseState.ORDINARY:
            self._is_ordinary(why)
        await self._end_loading()
        await self._end_zygote()

    async def end(self) -> None:
        """Its last server is gone."""
        if self.state is not ReleaseState.ENDED:
            self._become(ReleaseState.ENDED)
        await self._end_loading()
        await self._end_zygote()
        self._conf.unlink(missing_ok=True)
        self._trial.unlink(missing_ok=True)
        self._home.pid_file(f"zygote{self.name}").unlink(missing_ok=True)

    async def _end_loading(self) -> None:
        if self._loading and not self._loading.done():
            self._loading.cancel()
            await asyncio.wait([self._loading])

    async def _end_zygote(self) -> None:
        if self.zygote:
            await self.zygote.process.end(signal.SIGTERM, END_SECONDS)

    def _is_ordinary(self, why: str) -> None:
        self._become(ReleaseState.ORDINARY)
        self.why_ordinary = why
        logger.warning("Release %s: servers start the ordinary way: %s", self.name, why)

    # Its zygote.

    def _has_ended(self) -> StartError:
        return StartError(f"could not be started: release {self.name} has ended")

    async def _load(self, settings: Settings) -> None:
        """Until the zygote is ready, or is not needed any more, because it is unsafe or forking was distrusted.

        Whoever needs it at the same time waits for the same. Raises StartError.
        """
        if self._loading is None or self._loading.done():
            self._become(ReleaseState.LOADING)
            self._loading = self._tasks.do(f"The loading of release {self.name}", self._load_once(settings))
        loading = self._loading
        await asyncio.wait([loading])  # whoever waits may be cancelled without it, and it without whoever waits
        if loading.cancelled():
            if self.state is not ReleaseState.ORDINARY:
                raise self._has_ended()
        elif error := loading.result():
            raise error

    async def _load_once(self, settings: Settings) -> StartError | None:
        """Returns what the site raises."""
        zygote: Worker | None = None
        try:
            zygote = self._spawn_zygote(settings)
            await zygote.until(WorkerState.READY, settings.start_timeout)
        except (StartError, OSError) as error:
            if zygote is not None:
                await zygote.process.end(signal.SIGKILL, END_SECONDS)
                if zygote.standing.state is WorkerState.UNSAFE:
                    self._is_ordinary(zygote.standing.reason)
                    return None
            self._become(ReleaseState.COLD)
            return StartError(
                f"the site could not be loaded: {'it ' if isinstance(error, StartError) else ''}{told(error)}",
                hint=f"Its log: {self._home.zygote_log}",
                detail=getattr(error, "detail", ""),
            )
        except BaseException:
            if zygote is not None:
                zygote.process.send(signal.SIGKILL)
            if self.state is ReleaseState.LOADING:
                self._become(ReleaseState.COLD)
            raise
        self._has_loaded(zygote)
        return None

    def _spawn_zygote(self, settings: Settings) -> Worker:
        zygote = self._reception.expect(self._home.zygote_log)
        arguments = launch.zygote_arguments(self._home, settings, self.name, self._conf, token=zygote.token)
        try:
            return self._reception.born(zygote, self._spawn(arguments, self._home.zygote_log))
        except BaseException:
            self._reception.forget(zygote)
            raise

    def _has_loaded(self, zygote: Worker) -> None:
        self._become(ReleaseState.WARM)
        self.zygote = zygote
        zygote.hears = self._forks.hear
        zygote.process.name_in(self._home.pid_file(f"zygote{self.name}"))
        zygote.process.exited.add_done_callback(lambda _: self._has_lost(zygote))
        logger.info("Release %s is loaded: zygote pid %d", self.name, zygote.process.pid)

    def _has_lost(self, zygote: Worker) -> None:
        if self.zygote is zygote and self.state is ReleaseState.WARM:
            logger.warning("The zygote of release %s %s", self.name, zygote.process.exited.result())
            self._become(ReleaseState.COLD)

    # A process of a server.

    async def _can_fork(self, settings: Settings) -> bool:
        """Whether servers are forked. A zygote that is gone is loaded anew. Raises StartError."""
        if self.warm and not self.forks:
            logger.warning("The zygote of release %s is gone; it is loaded anew", self.name)
            await self._load(settings)
        return self.warm

    async def _launch(
        self, settings: Settings, name: str, make: Callable[[ServerSpec], Awaitable[Process]], *, warm_up: bool
    ) -> Worker:
        """A worker with a token of its own: what a zygote forked before it was lost is not taken for its successor."""
        worker = self._reception.expect(self._home.server_log(name))
        spec = launch.server_spec(self._home, settings, name, release=self.name, token=worker.token, warm_up=warm_up)
        try:
            return self._reception.born(worker, await make(spec))
        except BaseException:
            self._reception.forget(worker)
            raise

    async def _start(self, settings: Settings, spec: ServerSpec) -> Process:
        return self._spawn(launch.server_arguments(settings, spec), self._home.server_log(spec.server))

    async def _fork(self, spec: ServerSpec) -> Process:
        assert self.zygote
        zygote = self.zygote
        try:
            return await self._forks.ask(zygote, spec, self._home.server_log(spec.server))
        except ZygoteLost:
            await zygote.process.end(signal.SIGKILL, END_SECONDS)
            raise

    def _spawn(self, arguments: list[str], log: Path) -> Process:
        return Process.spawn(arguments, log=log, folder=self._home.path, environment=launch.environment(self._home))
