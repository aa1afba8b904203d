"""Processes: spawn, adopt, wait for, end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from zenwebserver.machine import privileges
from zenwebserver.machine.files import make_folder
from zenwebserver.machine.identity import Identity

logger = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 5.0
# For 15 seconds and more, not counting those in which this process was frozen itself; of what was forked for us we
# are told sooner.
LOOKS = 4
# pidfd_open(2): it is gone; no process has such a number; it is a thread's.
NO_PROCESS = (errno.ESRCH, errno.EINVAL, errno.ENOENT)


class Process:
    """One process, a child of ours or an adopted one. `exited` is done when it is gone."""

    def __init__(
        self, identity: Identity, child: subprocess.Popen[bytes] | None = None, *, pidfd: int | None = None
    ) -> None:
        """`pidfd` becomes ours. Raises OSError, ProcessLookupError where it is gone and nobody's child."""
        self.identity = identity
        self.pid = identity.pid
        self.exited: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._child = child
        self._pidfd = os.pidfd_open(identity.pid) if pidfd is None else pidfd
        asyncio.get_running_loop().add_reader(self._pidfd, self._reap)

    @classmethod
    def spawn(
        cls,
        arguments: Sequence[str],
        *,
        log: Path,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        descriptors: Sequence[int] = (),
        may_bind_low_ports: bool = False,
    ) -> Process:
        """Start `arguments` in its own session, its output appended to `log`. Raises OSError; then nothing runs."""
        if not folder.is_dir():  # the home was removed, or moved away: nothing is made in its place
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
        make_folder(log.parent)  # somebody may have removed it
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            with privileges.binding_low_ports(may_bind_low_ports):
                child = subprocess.Popen(
                    list(arguments),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=folder,
                    env=None if environment is None else dict(environment),
                    pass_fds=tuple(descriptors),
                    start_new_session=True,
                )
        finally:
            os.close(output)
        identity = Identity.of(child.pid)
        if identity is None:  # dead already: its pid is still ours, because we have not waited for it
            identity = Identity(child.pid, 0)
        try:
            return cls(identity, child)
        except BaseException:
            child.kill()
            child.wait()
            raise

    @classmethod
    def adopt(cls, identity: Identity) -> Process | None:
        """A process that somebody else started; None where it ended meanwhile. Raises OSError."""
        try:
            pidfd = os.pidfd_open(identity.pid)
        except OSError as error:
            if error.errno in NO_PROCESS:
                return None
            raise
        if Identity.of(identity.pid) != identity:  # only now: what is open cannot be exchanged any more
            os.close(pidfd)
            return None
        return cls(identity, pidfd=pidfd)

    @property
    def running(self) -> bool:
        return not self.exited.done()

    def name_in(self, pid_file: Path) -> None:
        """Write its pid file; where the disk is full, it goes on without one."""
        try:
            self.identity.write(pid_file)
        except OSError as error:
            logger.error("Pid file of process %d could not be written: %s", self.pid, error)

    def send(self, number: signal.Signals) -> None:
        """Send a signal; to a process that is gone, nothing is sent."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    async def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is gone, at most `seconds`. Returns whether it is."""
        done, _ = await asyncio.wait([self.exited], timeout=seconds)
        return bool(done)

    async def end(self, number: signal.Signals, seconds: float) -> bool:
        """Ask it to end with `number`; kill it after `seconds`. Returns whether it ended by itself."""
        self.send(number)
        if await self.wait(seconds):
            return True
        self.send(signal.SIGKILL)
        await self.wait()
        return False

    def _reap(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._pidfd)
        try:
            result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
        except ChildProcessError:  # adopted: somebody else's child
            result = None
        os.close(self._pidfd)
        how = "ended" if result is None else _how_it_ended(result)
        if self._child is not None:
            self._child.returncode = 0 if result is None else result.si_status  # so that nobody waits for it again
        if not self.exited.done():
            self.exited.set_result(how)


def wait_without_threads() -> None:
    """Python 3.11 waits for each child of asyncio in a thread, which there may be none left for; later ones do not."""
    if sys.version_info < (3, 12):
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())


async def reap_orphans(look_again: float = LOOK_AGAIN_SECONDS) -> None:
    """What the processes of a site leave behind becomes our child (see `become_subreaper`), and a zombie when it ends.

    A zombie that has been seen LOOKS times and that nobody here waits for is nobody's.
    """
    seen: dict[psutil.Process, int] = {}
    while True:
        await asyncio.sleep(look_again)
        seen = {zombie: seen.get(zombie, 0) + 1 for zombie in _zombies()}
        old = {zombie.pid for zombie, looks in seen.items() if looks >= LOOKS}
        for orphan in old - _waited_for(old):
            _reap(orphan)


def _reap(zombie: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(zombie, os.WNOHANG)


def _zombies() -> set[psutil.Process]:
    """Those of our children that have ended and whose end nobody has taken notice of."""
    with contextlib.suppress(psutil.Error):
        return {child for child in psutil.Process().children() if _is_zombie(child)}
    return set()


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _waited_for(pids: set[int]) -> set[int]:
    """Those for whose end somebody in this process waits, or may.

    A `Process` has a pidfd open. Children of subprocess and asyncio are in our session, which orphans are not: each
    process of a site was started in a session of its own.
    """
    if not pids:
        return set()
    found = {pid for pid in pids if _is_in_our_session(pid)}
    for description in Path("/proc/self/fdinfo").iterdir():
        with contextlib.suppress(OSError):
            words = description.read_text().split()
            if "Pid:" in words:
                found.add(int(words[words.index("Pid:") + 1]))
    return found


def _is_in_our_session(pid: int) -> bool:
    try:
        return os.getsid(pid) == os.getsid(0)
    except ProcessLookupError:
        return False


def _how_it_ended(result: os.waitid_result) -> str:
    if result.si_code == os.CLD_EXITED:
        return f"ended with exit code {result.si_status}"
    try:
        return f"was killed by {signal.Signals(result.si_status).name}"
    except ValueError:
        return f"was killed by signal {result.si_status}"
