"""The life of the supervisor's process: it begins once in a home, adopts, serves its API, ends when nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import logging.handlers
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import TextIO

import uvicorn

from zenwebserver import __version__
from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.machine import privileges
from zenwebserver.machine.files import make_folder
from zenwebserver.machine.identity import Identity
from zenwebserver.machine.processes import reap_orphans
from zenwebserver.supervisor.adoption import adopt
from zenwebserver.supervisor.api import Api
from zenwebserver.supervisor.health import Health
from zenwebserver.supervisor.line.switchboard import listen_on
from zenwebserver.supervisor.report import Report
from zenwebserver.supervisor.supervisor import Supervisor, owner_is_root
from zenwebserver.supervisor.tasks import Tasks

logger = logging.getLogger(__name__)

LOG_BYTES = 10 * 1024 * 1024
LOG_FILES = 5


class RunsAlready(Exception):
    """Another supervisor holds this home."""


def main(home: Home, ready: int) -> int:
    """Be the supervisor of `home`; how the start went is written to the descriptor `ready`. Returns the exit code."""
    with os.fdopen(ready, "w") as started:
        try:
            make_folder(home.path)
            owner = privileges.become_owner_of(home.path)
            home.make_folders()
            lock = take_lock(home)
            configure_logging(home)
        except RunsAlready:
            started.write("running\n")
            return 0
        except (OSError, ZenwebserverError) as error:
            started.write(f"{error}\n")
            return 1
        if owner:
            logger.info("Started as root; everything runs as %s, the owner of %s", owner, home.path)
        elif owner_is_root(home.path):
            logger.warning("Everything runs as root, because root owns %s", home.path)
        with lock:
            asyncio.run(live(home, lambda: _say_ready(started)))
    return 0


def _say_ready(started: TextIO) -> None:
    started.write("ready\n")
    started.close()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stderr.fileno())  # until now it led to whoever started us
    os.close(nowhere)


@contextlib.contextmanager
def _held(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


def take_lock(home: Home) -> contextlib.AbstractContextManager[None]:
    """Held by its descriptor, so it ends with the process. Raises RunsAlready."""
    descriptor = os.open(home.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise RunsAlready from None
    return _held(descriptor)


def configure_logging(home: Home) -> None:
    handler = logging.handlers.RotatingFileHandler(home.supervisor_log, maxBytes=LOG_BYTES, backupCount=LOG_FILES)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("uvicorn.access", "uvicorn.error", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    sys.excepthook = lambda *error: logger.critical("The supervisor fails", exc_info=error)


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: a signal means `stop` here."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def live(home: Home, started: Callable[[], None]) -> None:
    """From adoption to the end."""
    privileges.become_subreaper()
    own = Identity.of(os.getpid())
    assert own
    own.write(home.pid_file("supervisor"))
    logger.info("zenwebserver %s, pid %d, home %s", __version__, own.pid, home.path)
    tasks = Tasks()
    supervisor = Supervisor(home, tasks)
    supervisor.switchboard.open()
    with contextlib.suppress(ZenwebserverError):  # a command that needs them says what is wrong with them
        supervisor.read_settings()
    await adopt(supervisor)

    ending = asyncio.Event()

    def end_if_idle() -> None:
        if supervisor.idle and supervisor.changes.idle:
            home.control_socket.unlink(missing_ok=True)  # from here on a command starts the next supervisor
            ending.set()

    async def upgrade(_: Report) -> str:
        ending.set()
        return "Upgraded"

    supervisor.ended = end_if_idle
    api = Api(supervisor, end_if_idle, upgrade)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, lambda: tasks.do("stop", _stop(api, supervisor, ending)))
    listener = listen_on(home.control_socket)
    server = _Server(uvicorn.Config(api.app, log_config=None, lifespan="off", timeout_graceful_shutdown=5))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    tasks.keep("reaping", reap_orphans)
    tasks.keep("health", Health(supervisor).watch)
    started()
    await ending.wait()
    home.control_socket.unlink(missing_ok=True)
    server.should_exit = True
    await serving
    supervisor.switchboard.close()
    await tasks.end()
    home.pid_file("supervisor").unlink(missing_ok=True)
    logger.info("The supervisor ends; %s", "nothing is left to run" if supervisor.idle else "what runs goes on")


async def _stop(api: Api, supervisor: Supervisor, ending: asyncio.Event) -> None:
    logger.info("Told to end by a signal: stopping")
    await api.operate("stop", {}, Report(lambda _: None))
    if supervisor.idle:
        ending.set()
