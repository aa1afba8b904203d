"""A process is forked away within a bounded time, or it is told why not; nothing is left over of one that failed."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

import pytest

# It forks, as a zygote does, and is the subreaper, as the supervisor is. os.fork is called by the first process and
# then by the one in the middle; `at` puts `what` in the place of one of these calls, or behind it.
PROGRAM = """
import ctypes, errno, json, os, resource, signal, sys, time
from zenwebserver.worker import forking

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER, <linux/prctl.h>
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
FIRST, BECAME = os.getpid(), 7
fork = os.fork

def fails(number):
    def failing():
        raise OSError(number, os.strerror(number))
    return failing

def forks_and(in_parent=lambda: None, in_child=lambda: None):
    def forking():
        pid = fork()
        (in_parent if pid else in_child)()
        return pid
    return forking

def stops():
    os.kill(os.getpid(), signal.SIGSTOP)

def dies(number):
    return lambda: os.kill(os.getpid(), number)

def raises():
    raise MemoryError

def become():
    return BECAME

def at(first=fork, second=fork):
    os.fork = lambda: (first if os.getpid() == FIRST else second)()

def left():
    found = []
    while True:
        try:
            _, status = os.wait()
        except ChildProcessError:
            return found
        found.append(os.waitstatus_to_exitcode(status))

before = sorted(os.listdir("/proc/self/fd"))
PLACE
began = time.monotonic()
try:
    outcome = forking.fork_away(become)
except forking.ForkFailed as failed:
    outcome = str(failed)
seconds = time.monotonic() - began
if os.getpid() != FIRST:
    print("a second process came here", flush=True)
END
print(json.dumps([outcome, seconds, left(), before == sorted(os.listdir("/proc/self/fd"))]), flush=True)
"""
BECAME = 7


@dataclass(frozen=True)
class Outcome:
    """Of `fork_away`, and the exit codes of all that was forked and not waited for by it."""

    said: int | str  # the pid, or how it failed
    seconds: float
    left: list[int]


def fork_away(place: str = "", end: str = "") -> Outcome:
    program = PROGRAM.replace("PLACE", place).replace("END", end)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20)
    assert ran.returncode == 0, ran.stderr
    (line,) = ran.stdout.splitlines()
    said, seconds, left, descriptors_as_before = json.loads(line)
    assert descriptors_as_before
    return Outcome(said, seconds, left)


def test_what_is_forked_away_is_the_subreapers_child_and_ends_as_it_says() -> None:
    outcome = fork_away()
    assert isinstance(outcome.said, int)
    assert outcome.left == [BECAME]


def test_what_is_forked_away_has_no_descriptor_of_the_forking() -> None:
    become = """
def become():
    return BECAME if before == sorted(os.listdir("/proc/self/fd")) else 1
"""
    assert fork_away(become).left == [BECAME]


@pytest.mark.parametrize(
    ("place", "how"),
    [
        ("at(first=fails(errno.ENOMEM))", "could not be forked: [Errno 12] Cannot allocate memory"),
        ("at(second=fails(errno.EAGAIN))", "could not be forked: [Errno 11] Resource temporarily unavailable"),
        ("at(first=forks_and(in_child=dies(signal.SIGSEGV)))", "was killed by SIGSEGV"),
        ("at(second=dies(signal.SIGRTMIN + 2))", "was killed by signal 36"),
        (
            "at(second=raises)",
            "could not be forked: the process that was to fork it ended with exit code 1",
        ),
        (
            "resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir('/proc/self/fd')) - 1, 4096))",
            "could not be forked: [Errno 24] Too many open files",
        ),
    ],
)
def test_how_it_failed_is_told_and_nothing_is_left(place: str, how: str) -> None:
    outcome = fork_away(place, "resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 4096))")
    assert outcome.said == how
    assert outcome.left == []


def test_a_process_in_the_middle_that_hangs_is_killed() -> None:
    outcome = fork_away("forking.FORK_SECONDS = 0.1; at(second=stops)")
    assert outcome.said == "could not be forked within 0.1 s"
    assert 0.1 <= outcome.seconds < 5
    assert outcome.left == []


def test_signals_do_not_make_a_hanging_one_be_waited_for_longer() -> None:
    beats = "signal.signal(signal.SIGALRM, lambda *_: None); signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)"
    outcome = fork_away(
        f"{beats}; forking.FORK_SECONDS = 0.1; at(second=stops)", "signal.setitimer(signal.ITIMER_REAL, 0)"
    )
    assert outcome.said == "could not be forked within 0.1 s"
    assert outcome.seconds < 5


def test_one_that_hangs_once_it_has_said_the_pid_is_not_waited_for() -> None:
    place = "os_exit = os._exit; os._exit = lambda code: code == 0 and stops() or os_exit(code)"
    outcome = fork_away(place)
    assert isinstance(outcome.said, int)
    assert outcome.seconds < 5
    assert outcome.left == [BECAME]


@pytest.mark.parametrize("end", ["dies(signal.SIGKILL)", "raises", "stops"])
def test_a_forked_process_whose_pid_was_never_said_becomes_nothing(end: str) -> None:
    outcome = fork_away(f"forking.FORK_SECONDS = 0.1; at(second=forks_and(in_parent={end}))")
    assert isinstance(outcome.said, str)
    assert outcome.left == [1]


def test_a_forked_process_that_hangs_at_once_keeps_nobody_waiting() -> None:
    hangs = "at(second=forks_and(in_child=stops))"
    outcome = fork_away(hangs, "os.kill(outcome, signal.SIGKILL)")
    assert isinstance(outcome.said, int)
    assert outcome.seconds < 5
    assert outcome.left == [-9]


def test_a_forked_process_that_dies_at_once_tells_by_its_end() -> None:
    outcome = fork_away("at(second=forks_and(in_child=dies(signal.SIGSEGV)))")
    assert isinstance(outcome.said, int)
    assert outcome.left == [-11]


@pytest.mark.parametrize("raised", ["raise ValueError", "sys.exit(0)", "raise KeyboardInterrupt"])
def test_what_a_forked_process_raises_does_not_run_its_parents_code(raised: str) -> None:
    outcome = fork_away(f"\ndef become():\n    {raised}\n")
    assert isinstance(outcome.said, int)
    assert outcome.left == [1]


def test_a_site_that_takes_no_note_of_its_childrens_ends_is_forked_all_the_same() -> None:
    outcome = fork_away("signal.signal(signal.SIGCHLD, signal.SIG_IGN)")
    assert isinstance(outcome.said, int)


@pytest.mark.parametrize("behind", ["fork", "answer"])
def test_nothing_hangs_and_nothing_is_begun_where_the_one_that_forks_dies(behind: str) -> None:
    """Here the first process is the subreaper alone; its child forks, and is killed right behind `behind`."""
    place = """
zygote = fork()
if zygote == 0:
    ZYGOTE = os.getpid()
    die = dies(signal.SIGKILL)
    if BEHIND == "fork":
        at(second=lambda: forks_and(in_parent=die)() if os.getpid() == ZYGOTE else fork())
    else:
        answer = forking._answer
        forking._answer = lambda *_: answer(*_) and die()
else:
    forking.fork_away = lambda _: 0
""".replace("BEHIND", repr(behind))
    outcome = fork_away(place)
    assert -9 in outcome.left
    assert BECAME not in outcome.left
