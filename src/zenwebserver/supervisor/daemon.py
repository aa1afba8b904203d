"""The life of the supervisor's process: it takes over what runs, serves commands, and ends when nothing is left.

Where its successor fails, it begins again, as if it had just been started.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import traceback

from zenwebserver import __version__
from zenwebserver.errors import ZenwebserverError, told
from zenwebserver.home import Home
from zenwebserver.machine import privileges
from zenwebserver.machine.files import make_folder
from zenwebserver.machine.processes import reap_orphans, wait_without_threads
from zenwebserver.supervisor import candidates
from zenwebserver.supervisor.adoption import adopt, put_right
from zenwebserver.supervisor.api import Api
from zenwebserver.supervisor.control_socket import ControlSocket
from zenwebserver.supervisor.health import Health
from zenwebserver.supervisor.lock import Lock, RunsAlready
from zenwebserver.supervisor.log import configure_logging
from zenwebserver.supervisor.report import Report
from zenwebserver.supervisor.starter import RUNNING, Predecessor, Starter
from zenwebserver.supervisor.succession import Successor
from zenwebserver.supervisor.supervisor import Supervisor
from zenwebserver.supervisor.tasks import Tasks
from zenwebserver.supervisor.whereabouts import Whereabouts

logger = logging.getLogger(__name__)

BEGIN_AGAIN_SECONDS = 1.0


def main(home: Home, starter: Starter, inherited: int | None = None) -> int:
    """Be the supervisor of `home`; `inherited` is the descriptor of its lock, if any. Returns the exit code."""
    try:
        lock = prepare(home, inherited)
    except RunsAlready:
        starter.tell(RUNNING)
        return 0
    except (OSError, ZenwebserverError) as error:
        starter.tell(told(error))
        return 1
    wait_without_threads()
    if isinstance(starter, Predecessor):
        starter.makes_room()
    try:
        asyncio.run(live(home, lock, starter))
    except Exception as error:
        logger.critical("The supervisor fails", exc_info=True)
        starter.tell(told(error) if isinstance(error, OSError | ZenwebserverError) else traceback.format_exc())
        return 1
    return 0


def prepare(home: Home, inherited: int | None) -> Lock:
    """Become the home's owner, and its one supervisor. Raises RunsAlready, OSError, ZenwebserverError."""
    make_folder(home.path)
    owner = privileges.become_owner_of(home.path)
    privileges.keep_low_ports_to_ourselves()
    home.make_folders()
    lock = Lock.take(home) if inherited is None else Lock.inherit(home, inherited)
    configure_logging(home)
    if owner:
        logger.info("Started as root; everything runs as %s, the owner of %s", owner, home.path)
    elif privileges.owner_is_root(home.path):
        logger.warning("Everything runs as root, because root owns %s", home.path)
    return lock


async def live(home: Home, lock: Lock, starter: Starter) -> None:
    """From adoption to the end."""
    daemon = Daemon(home, lock)
    privileges.become_subreaper()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, daemon.stop)
    try:
        await daemon.begin()
        starter.ready()
        await daemon.ended.wait()
    finally:
        await daemon.end()


class Daemon:
    """One process; `supervisor` and what belongs to it are made anew where it begins again."""

    def __init__(self, home: Home, lock: Lock) -> None:
        self.ended = asyncio.Event()
        self._home = home
        self._lock = lock
        self._control = ControlSocket(home.control_socket, self._end_if_idle)
        self._at_work = False
        self._told_to_stop = False
        self._stopping: asyncio.Task[None] | None = None
        self._successor: Successor | None = None
        self._be_new()

    def _be_new(self) -> None:
        self._tasks = Tasks()
        self._supervisor = Supervisor(self._home, self._tasks)
        self._supervisor.ended = self._end_if_idle
        self._api = Api(self._supervisor, self._end_if_idle, self._succeed, self._make_room, lambda: self._lock.place)
        self._whereabouts = Whereabouts(self._supervisor, self._lock, self._control, lost=self.ended.set)

    async def begin(self) -> None:
        """Take over what runs, then answer commands. Raises OSError."""
        logger.info("zenwebserver %s, pid %d, home %s", __version__, os.getpid(), self._home.path)
        for path in candidates.sweep(self._home):
            logger.info("%s, left by a process that was killed, is removed", path)
        self._whereabouts.take_up()
        self._read_settings()
        await adopt(self._supervisor)
        self._tasks.do("telling nginx of the pool", put_right(self._supervisor))
        self._tasks.keep("reaping", reap_orphans)
        self._tasks.keep("health", Health(self._supervisor).watch)
        self._tasks.keep("whereabouts", self._whereabouts.keep)
        self._control.open(self._api.app)
        self._at_work = True
        if self._told_to_stop:
            self.stop()

    def _end_if_idle(self) -> None:
        """The end, where nothing runs, nobody changes anything or waits to, and everybody has had the whole answer."""
        changes, gate = self._supervisor.changes, self._control.gate
        if self._at_work and self._supervisor.idle and changes.idle and gate.empty:
            self._control.take_away()
            self.ended.set()

    async def end(self) -> None:
        """Nothing is left behind but what runs."""
        self._at_work = False
        await self._control.close()
        await self._tasks.end()
        self._whereabouts.give_up()
        if self._successor:
            if self._told_to_stop:
                self._successor.send(signal.SIGTERM)
            self._successor.leave()
        logger.info("The supervisor ends; %s", "nothing runs" if self._supervisor.idle else "what runs goes on")

    # What a signal means.

    def stop(self) -> None:
        """Stop everything and end; told twice, it stops once."""
        self._told_to_stop = True
        if self._at_work and (self._stopping is None or self._stopping.done()):
            self._stopping = self._tasks.do("stop", self._stop())

    async def _stop(self) -> None:
        logger.info("Told to end by a signal: stopping")
        await self._api.operate("stop", {}, Report(lambda _: None))
        self._told_to_stop = False  # cut off by a succession, it would be for whoever is next

    # Succession.

    async def _succeed(self, report: Report, python: str) -> str:
        """Have the supervisor that `python` has in this one's place; this one goes on where that fails."""
        if sessions := sorted(self._supervisor.sessions):
            raise ZenwebserverError(
                f"`{sessions[0]}` is at work in another terminal, and would lose its supervisor",
                hint="Nothing was done. End it, and repeat the command.",
            )
        successor = Successor.start(self._home, self._lock, python)
        try:
            with report.step("Starting the new supervisor"):
                await successor.loads()
            with report.step("Handing over"):
                await self._let_go()
                await successor.takes_over()
        except BaseException as error:
            logger.error("The successor, pid %d, fails: %s", successor.pid, error)
            await successor.end()
            if not self._at_work and not self.ended.is_set():
                await self._begin_again()
            raise
        logger.info("The successor, pid %d, has taken over", successor.pid)
        self._successor = successor
        self.ended.set()
        return "Upgraded"

    def _make_room(self) -> None:
        """A command of an earlier version starts its supervisor itself, once this one has ended. Raises OSError."""
        self._lock.hold_former()
        if sessions := sorted(self._supervisor.sessions):
            logger.error("Not ended for an earlier version: `%s` is at work in another terminal", sessions[0])
            return
        logger.info("A command of an earlier version starts its supervisor in the place of this one")
        self._supervisor.changes.close()
        self._control.take_away()
        self.ended.set()

    async def _let_go(self) -> None:
        """Supervise and change nothing any more; what runs goes on."""
        self._at_work = False
        self._control.gate.pause()
        self._supervisor.changes.close()
        self._supervisor.changes.finish()
        await self._tasks.end()
        self._supervisor.let_go()

    async def _begin_again(self) -> None:
        """Whatever is in the way: a home is not left without its supervisor."""
        while not self._at_work:
            self._be_new()
            try:
                await self.begin()
            except Exception:
                logger.exception("The supervisor cannot begin again yet")
                await self._tasks.end()
                self._supervisor.let_go()
                await asyncio.sleep(BEGIN_AGAIN_SECONDS)

    def _read_settings(self) -> None:
        """A command that needs them says what is wrong with them; `stop` works without."""
        if not self._home.exists():
            return  # it is about to be made
        try:
            self._supervisor.read_settings()
        except ZenwebserverError as error:
            logger.error("%s", error.message)
        except Exception:
            logger.exception("The settings cannot be read")
