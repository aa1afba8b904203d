"""The home's former control script, bin/zopectl: whether its server runs, and stopping it."""

from __future__ import annotations

import os
import pwd
import re
import select
import signal
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.machine.identity import zenhome

STATUS_SECONDS = 30.0
STOP_SECONDS = 120.0  # a Zope finishes the requests it has
_RUNNING = re.compile(r"program running; pid=(\d+)")  # zdaemon's words
_NOT_RUNNING = re.compile(r"\bnot (?:yet )?running\b|\bstopped\b", re.IGNORECASE)
_PID_FILES = ("zopectl.pid", "Z2.pid", "zope.pid")


@dataclass(frozen=True)
class _Answer:
    code: int
    text: str


@dataclass(frozen=True)
class Running:
    """The server runs; `pid` where it is known."""

    pid: int | None


def is_there(home: Home, command: Path) -> bool:
    """Whether the home has a zopectl of its own: not one that is zenwebserver itself."""
    script = _script(home)
    return script.exists() and not (command.exists() and script.samefile(command))


def running(home: Home) -> Running | None:
    """What zopectl says of its server; where words and exit code do not tell, its pid file's process does.

    A pid file that was copied with the home names the server of the original, which is none of this one's.
    """
    found = _found(home)
    return None if found and found.pid and _is_anothers(home, found.pid) else found


def _is_anothers(home: Home, pid: int) -> bool:
    named = zenhome(pid)
    try:
        return named is not None and not named.samefile(home.path)
    except OSError:
        return False


def _found(home: Home) -> Running | None:
    answer = _call(home, "status", STATUS_SECONDS) if os.access(_script(home), os.X_OK) else None
    if answer and (match := _RUNNING.search(answer.text)):
        return Running(int(match[1]))
    pid = _pid_from_file(home)
    if answer and _NOT_RUNNING.search(answer.text):
        return None
    if answer and answer.code == 0:
        return Running(pid)
    return Running(pid) if pid else None


def stop(home: Home, server: Running) -> None:
    """Stop the server; wait until its process is gone. Raises ZenwebserverError where it goes on."""
    with _Process(server.pid) as process:
        answer = _call(home, "stop", STOP_SECONDS)
        process.wait(STOP_SECONDS if answer.code == 0 else 0)
    still = running(home)
    # A status that exits with 0 in words unknown to us, and no process to see: then what `stop` said holds.
    if still and (still.pid or answer.code != 0):
        pid = f" (pid {still.pid})" if still.pid else ""
        raise ZenwebserverError(
            f"{_script(home)} stop did not stop the server{pid}; it ended with exit code {answer.code}.",
            hint="Stop that server, then repeat the command: it goes on from here.",
            detail=answer.text.strip(),
        )


def _script(home: Home) -> Path:
    return home.path / "bin" / "zopectl"


class _Process:
    """A process held by a descriptor, so that its end can be waited for and no other process taken for it."""

    def __init__(self, pid: int | None) -> None:
        self._descriptor = -1
        if pid:
            with suppress(OSError):  # it is gone
                self._descriptor = os.pidfd_open(pid)

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def wait(self, seconds: float) -> None:
        if self._descriptor >= 0:
            poll = select.poll()
            poll.register(self._descriptor, select.POLLIN)
            poll.poll(seconds * 1000)


def _call(home: Home, verb: str, seconds: float) -> _Answer:
    """Run `bin/zopectl VERB`; its words go to a file: a server left behind would keep a pipe open."""
    user, group, groups = _owner(home)
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                [_script(home), verb],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=home.path,
                env={**os.environ, "ZENHOME": str(home.path)},
                start_new_session=True,
                user=user,
                group=group,
                extra_groups=groups,
            )
        except OSError as error:
            raise ZenwebserverError(
                f"{_script(home)} cannot be run: {error.strerror}",
                hint="Stop its server and move that script away, or make it runnable; then repeat.",
            ) from error
        try:
            code = process.wait(seconds)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            raise ZenwebserverError(
                f"{_script(home)} {verb} did not end within {seconds:.0f} seconds, and was killed.",
                hint="Stop that server by hand, then repeat the command: it goes on from here.",
                detail=_text(output.fileno()),
            ) from error
        return _Answer(code, _text(output.fileno()))


def _text(descriptor: int) -> str:
    return os.pread(descriptor, 1 << 20, 0).decode(errors="replace")


def _owner(home: Home) -> tuple[int | None, int | None, list[int] | None]:
    """Root runs a user's script as that user: user, group and groups; None where nothing is to be changed."""
    owner = home.path.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return None, None, None
    try:
        return owner.st_uid, owner.st_gid, os.getgrouplist(pwd.getpwuid(owner.st_uid).pw_name, owner.st_gid)
    except KeyError:
        return owner.st_uid, owner.st_gid, []


def _pid_from_file(home: Home) -> int | None:
    """The live process that a pid file names; one that began after the file was written is another."""
    for name in _PID_FILES:
        path = home.var / name
        try:
            process = psutil.Process(int(path.read_text().split()[0]))
            if process.create_time() <= path.stat().st_mtime + 1 and process.status() != psutil.STATUS_ZOMBIE:
                return process.pid
        except (OSError, ValueError, IndexError, psutil.Error):
            continue
    return None
