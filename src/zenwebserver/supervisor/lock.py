"""One supervisor a home: the one that has locked the folder `etc`, which goes with the home itself and not before."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.machine.files import current_place


class RunsAlready(Exception):
    """Another supervisor holds this home."""


class Lock:
    """Held by an open descriptor, which a successor inherits: it ends with the last process that has it."""

    def __init__(self, home: Home, descriptor: int) -> None:
        self.descriptor = descriptor
        self._home = home
        self._former: int | None = None

    @classmethod
    def take(cls, home: Home) -> Lock:
        """Raises RunsAlready, OSError."""
        lock = cls(home, _locked(home.etc))
        try:
            _refuse_former(home.former_lock_file)
        except BaseException:
            lock.release()
            raise
        return lock

    @classmethod
    def inherit(cls, home: Home, descriptor: int) -> Lock:
        """What the process holds that started this one. Raises ZenwebserverError where that is not this home's."""
        os.set_inheritable(descriptor, False)
        lock = cls(home, descriptor)
        if not lock.is_of_home:
            raise ZenwebserverError(f"The lock that was inherited is not that of {home.etc}")
        return lock

    @property
    def is_of_home(self) -> bool:
        """Whether `etc` is the folder that is locked; it may have been moved away, with another one in its place."""
        try:
            return os.path.samestat(os.fstat(self.descriptor), self._home.etc.stat())
        except OSError:
            return False

    @property
    def place(self) -> Path | None:
        """Where the folder that is locked is now; None where it was removed."""
        return current_place(Path(f"/proc/self/fd/{self.descriptor}"))

    def hold(self) -> None:
        """Where another folder was put in the place of `etc`, lock that one. Raises RunsAlready, OSError."""
        if not self.is_of_home:
            former, self.descriptor = self.descriptor, _locked(self._home.etc)
            os.close(former)

    def hold_former(self) -> None:
        """A command of an earlier version waits for its end before it starts a supervisor. Raises OSError."""
        if self._former is None:
            descriptor = os.open(self._home.former_lock_file, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BaseException:
                os.close(descriptor)
                raise
            self._former = descriptor

    def release(self) -> None:
        os.close(self.descriptor)
        if self._former is not None:
            os.close(self._former)


def _locked(folder: Path) -> int:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise RunsAlready from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _refuse_former(file: Path) -> None:
    """A supervisor of an earlier version holds this file, until its `upgrade` is over. Raises RunsAlready, OSError."""
    try:
        descriptor = os.open(file, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunsAlready from None
    finally:
        os.close(descriptor)
    file.unlink(missing_ok=True)
