"""A process that is forked here and becomes a child of the supervisor, within a bounded time; or why there is none.

A process in the middle forks it and ends, and the kernel gives it to the nearest subreaper, the supervisor. It waits
until this process knows its pid: one that nobody knows of ends by itself, whoever else was killed or hangs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import Callable, NoReturn

# Forking takes milliseconds; what takes so long hangs, as a lock or a hook of a C library may (pitchfork's bound).
FORK_SECONDS = 5.0
LONGEST_ANSWER = 1024  # bytes
GO = b"go"


class ForkFailed(Exception):
    """The text says how, in words that follow a server's name: "was killed by SIGSEGV"."""


def fork_away(become: Callable[[], int]) -> int:
    """Fork a process that runs `become` and ends with the exit code that it returns. Returns its pid.

    Raises ForkFailed; then there is no such process, or it ends at once.
    """
    this = os.getpid()
    try:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    except OSError as error:
        raise ForkFailed(f"could not be forked: {error}") from None
    with ours:
        try:
            middle = os.fork()
            if middle == 0:
                ours.close()
                _be_in_the_middle(theirs, become)
        except OSError as error:
            raise ForkFailed(f"could not be forked: {error}") from None
        finally:
            if os.getpid() != this:  # whatever was raised there, nothing of it may come to run this process's frames
                os._exit(1)
            theirs.close()
        answer = _answer(ours, middle)
        if not answer.isdecimal():
            raise ForkFailed(answer)
        with contextlib.suppress(OSError):  # it is dead already, and tells the supervisor how by its end
            ours.send(GO)
        return int(answer)


def _be_in_the_middle(line: socket.socket, become: Callable[[], int]) -> NoReturn:
    try:
        pid = os.fork()
    except OSError as error:
        line.send(f"could not be forked: {error}".encode()[:LONGEST_ANSWER])
        os._exit(1)
    if pid:
        line.send(str(pid).encode())
        os._exit(0)
    if line.recv(len(GO)) != GO:  # its pid was not heard
        os._exit(1)
    line.close()
    os._exit(become())


def _answer(line: socket.socket, middle: int) -> str:
    """The pid, or how it failed. The process in the middle is gone when this returns."""
    line.settimeout(FORK_SECONDS)
    try:
        answer = line.recv(LONGEST_ANSWER).decode(errors="replace")
    except socket.timeout:
        answer = f"could not be forked within {FORK_SECONDS:g} s"
    finally:
        # Once it has answered there is nothing left that it could do but hang.
        with contextlib.suppress(ProcessLookupError):
            os.kill(middle, signal.SIGKILL)
        how = _how_it_ended(middle)
    return answer or how


def _how_it_ended(pid: int) -> str:
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:  # the site takes note of all children's ends, or of none
        status = 0
    if not os.WIFSIGNALED(status):
        return f"could not be forked: the process that was to fork it ended with exit code {os.WEXITSTATUS(status)}"
    number = os.WTERMSIG(status)
    try:
        return f"was killed by {signal.Signals(number).name}"
    except ValueError:
        return f"was killed by signal {number}"
