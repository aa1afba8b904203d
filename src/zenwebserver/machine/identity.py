"""Which process a pid file means: a pid is believed only together with the time at which its process started."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from zenwebserver.machine import files


@dataclass(frozen=True)
class Identity:
    """Which process is meant, beyond the reuse of its pid."""

    pid: int
    started: int  # clock ticks since boot: field 22 of /proc/PID/stat (proc(5))

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """The living process `pid`; None where there is none, or it is a zombie."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_bytes()
            fields = stat[stat.rindex(b")") + 2 :].split()  # a process may name itself by any bytes
            return None if fields[0] in b"ZX" else cls(pid, int(fields[19]))
        except (OSError, ValueError, IndexError):
            return None

    @classmethod
    def read(cls, pid_file: Path) -> Identity | None:
        """The process that `pid_file` (PID STARTED BOOT) names, if it still lives."""
        try:
            pid, started, boot = pid_file.read_text().split()
            named = cls(int(pid), int(started))
        except (OSError, ValueError):
            return None
        return named if boot == boot_id() and cls.of(named.pid) == named else None

    def works_in(self, folder: Path) -> bool:
        """Whether it is a process of `folder`, be that called otherwise by now: it was started there.

        A copied pid file names a process of the folder that it was copied from.
        """
        return _is(working_folder(self.pid), folder) or _is(zenhome(self.pid), folder)

    def write(self, pid_file: Path) -> None:
        files.replace(pid_file, f"{self.pid} {self.started} {boot_id()}\n")


def working_folder(pid: int) -> Path:
    """Leads to where the process works, also after that was moved away; nowhere, where we may not know."""
    return Path(f"/proc/{pid}/cwd")


def zenhome(pid: int) -> Path | None:
    """What its environment named when it was started: code of a site may have gone to work elsewhere.

    None where it named none, or we may not know.
    """
    try:
        words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    return next((Path(os.fsdecode(word[8:])) for word in words if word.startswith(b"ZENHOME=")), None)


def _is(path: Path | None, folder: Path) -> bool:
    try:
        return path is not None and path.samefile(folder)
    except OSError:
        return False


def started_as(words: Sequence[str]) -> list[Identity]:
    """The living processes in whose command `words` stand one after the other; not this one."""
    found = []
    for pid in sorted(set(psutil.pids()) - {os.getpid()}):
        try:
            command = os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")
        except OSError:  # it has ended, or is hidden from us
            continue
        starts = range(len(command) - len(words) + 1)
        named = any(command[start : start + len(words)] == list(words) for start in starts)
        if named and (identity := Identity.of(pid)):
            found.append(identity)
    return found


def started_with(beginning: str, uid: int) -> list[Identity]:
    """The living processes of user `uid` whose last argument begins so; not this one."""
    found = []
    for pid in sorted(set(psutil.pids()) - {os.getpid()}):
        identity = Identity.of(pid)  # before its command is read, which is then this process's or an earlier one's
        if (
            identity
            and last_argument(pid).startswith(beginning)
            and _owner(pid) == uid
            and Identity.of(pid) == identity
        ):
            found.append(identity)
    return found


def last_argument(pid: int) -> str:
    """Of the command that `pid` was started with; empty where it has ended, or is hidden from us."""
    try:
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).rstrip("\0").rpartition("\0")[2]
    except OSError:
        return ""


def _owner(pid: int) -> int | None:
    try:
        return psutil.Process(pid).uids().real
    except psutil.Error:
        return None


def boot_id() -> str:
    """Names this boot of the machine; ticks since boot mean nothing without it."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
