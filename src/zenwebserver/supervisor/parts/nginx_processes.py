"""nginx's processes of one home, found by what they are called: a pid file may be old, or gone."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import psutil

from zenwebserver.home import Home
from zenwebserver.machine.identity import Identity, working_folder
from zenwebserver.machine.processes import Process

# As nginx/control.py starts one, whatever home it was for.
STARTED_FOR_A_HOME = re.compile(r"nginx: master process .* -p (?P<home>/.*)/ -c (?P=home)/etc/nginx\.conf ?")
START_TIME_PRECISION = 1.0  # seconds, of psutil.Process.create_time()


def pid_in_file(home: Home) -> int | None:
    try:
        return int(home.nginx_pid.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def masters(home: Home) -> list[psutil.Process]:
    """Every master that serves this home, the newest first; two while one is exchanged."""
    called = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if is_master(process, home):
                called.append(process)
    found = [process for process in called if not _is_new_worker(process, {each.pid for each in called}, home)]
    return sorted(found, key=lambda process: process.create_time(), reverse=True)


def _is_new_worker(process: psutil.Process, masters: set[int], home: Home) -> bool:
    """For a moment after its fork a worker is called what its master is. A new master is a child of the former one,
    too, but it has written its pid before it is called so, and has workers.
    """
    try:
        return process.ppid() in masters and process.pid != pid_in_file(home) and not process.children()
    except psutil.Error:
        return True  # it has ended


def is_master(process: psutil.Process, home: Home) -> bool:
    """Raises psutil.Error where it has ended."""
    command = f"{' '.join(process.cmdline())} "
    ours = f" -p {home.path}/ -c {home.nginx_conf} "
    if not command.startswith("nginx: master process ") or ours not in command or process.uids().real != os.geteuid():
        return False
    return not home.is_other_than(working_folder(process.pid))


def program(pid: int | None) -> Path | None:
    """What a master runs, whatever the settings name by now; None where there is none, or it was removed."""
    try:
        return Path(f"/proc/{pid}/exe").resolve(strict=True) if pid else None
    except OSError:
        return None


def named_master(home: Home) -> psutil.Process | None:
    """The master that the pid file names. nginx writes no start time, but the file right after its start."""
    pid = pid_in_file(home)
    try:
        master = psutil.Process(pid) if pid else None
        if not master or not is_master(master, home):
            return None
        written = home.nginx_pid.stat().st_mtime
        return master if master.create_time() <= written + START_TIME_PRECISION else None
    except (psutil.Error, OSError, ValueError):
        return None


def adopted(process: psutil.Process) -> Process | None:
    """It, to be waited for; None where it has ended. Raises OSError."""
    identity = Identity.of(process.pid)
    return Process.adopt(identity) if identity else None


def workers(master: int, *, leaving: bool = False) -> set[psutil.Process]:
    """The workers that accept connections; with `leaving` also those that only finish what they have."""
    found = set()
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(master).children():
            with contextlib.suppress(psutil.Error):
                title = " ".join(child.cmdline())
                if "worker process" in title and (leaving or "shutting down" not in title):
                    found.add(child)
    return found


def all_began_before(master: int, moment: float) -> bool:
    """Whether its workers that accept began before `moment` (time.time()): they have read nothing of later."""
    begun = []
    for worker in workers(master):
        with contextlib.suppress(psutil.Error):
            begun.append(worker.create_time())
    return bool(begun) and max(begun) + START_TIME_PRECISION < moment


def orphans(home: Home) -> Iterator[psutil.Process]:
    """Workers whose master was killed; they work in the home's folder. And a master from before that was moved here."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            title = " ".join(process.cmdline())
            if not title.startswith("nginx: ") or not Path(process.cwd()).samefile(home.path):
                continue
            if _was_left_by_a_move(process, title, home) or not (_is_called_master(title) or _has_master(process)):
                yield process


def _was_left_by_a_move(process: psutil.Process, title: str, home: Home) -> bool:
    """It reads its configuration at the path where the home was: nobody could reload it."""
    return bool(STARTED_FOR_A_HOME.fullmatch(title)) and not is_master(process, home)


def _is_called_master(title: str) -> bool:
    return title.startswith("nginx: master process")


def _has_master(worker: psutil.Process) -> bool:
    parent = worker.parent()
    return bool(parent and _is_called_master(" ".join(parent.cmdline())))


def listens(pid: int) -> bool:
    """Whether it holds a listening TCP socket."""
    try:
        return any(each.status == psutil.CONN_LISTEN for each in psutil.Process(pid).net_connections("tcp"))
    except psutil.Error:
        return False
