"""run and debug: one server in the foreground of this terminal."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import pwd
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from typing import Any

from zenwebserver.cli import output
from zenwebserver.cli.verbs import force_option, prepare, verb
from zenwebserver.client.client import Client
from zenwebserver.errors import Exit
from zenwebserver.machine import ports

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_libc = ctypes.CDLL(None)


@verb("run")
@force_option
def run(client: Client, *, verbose: bool, force: bool) -> Exit:
    """Run Zope in the foreground on the load balancer's port; Ctrl-C ends it."""
    prepare(client, force=force)
    return _hold(client, "run", verbose=verbose)


@verb("debug")
@force_option
def debug(client: Client, *, verbose: bool, force: bool) -> Exit:
    """Run one more server in the foreground, in debug mode, outside the pool; a debugger can use this terminal."""
    del verbose
    prepare(client, force=force)
    return _hold(client, "debug", verbose=True)


def _hold(client: Client, kind: str, *, verbose: bool) -> Exit:
    events = client.session(kind)
    lent: dict[str, Any] = {}

    def until_lent() -> Any:
        for event in events:
            yield event
            if "session" in event:
                lent.update(event)
                return

    last = output.follow(until_lent(), verbose=verbose)
    if not lent:
        return output.close(last)
    try:
        return _serve(lent)
    finally:
        events.close()  # type: ignore[attr-defined]
        client.wait_for_end()


def _serve(lent: dict[str, Any]) -> Exit:
    """Run the server that the supervisor described, on a socket bound here: a low port may need our rights."""
    host = lent["host"]
    *command, order = lent["session"]
    with _terminal_kept():
        # The terminal's Ctrl-C reaches the server itself; we wait until it has ended.
        former = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with ports.bind(host, lent["port"]) as listener:
                shown = "127.0.0.1" if host == "*" else f"[{host}]" if ":" in host else host
                output.line(f"http://{shown}:{lent['port']}/  (Ctrl-C ends it)")
                process = subprocess.Popen(
                    [*command, json.dumps({**json.loads(order), "listener": listener.fileno()})],
                    env={**os.environ, **lent["environment"], "TERM": os.environ.get("TERM", "dumb")},
                    pass_fds=(listener.fileno(),),
                    preexec_fn=functools.partial(_hear_interrupt_and_end_with, os.getpid()),
                    **_as_owner(lent["uid"], lent["gid"]),
                )
            code = process.wait()
        finally:
            signal.signal(signal.SIGINT, former)
    return Exit.DONE if code == 0 else Exit.FAILED


@contextlib.contextmanager
def _terminal_kept() -> Iterator[None]:
    """A debugger that is cut off at its prompt leaves a terminal that shows no typing; it is put right."""
    if not sys.stdin.isatty():
        yield
        return
    as_found = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        with contextlib.suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, as_found)


def _hear_interrupt_and_end_with(command: int) -> None:
    """In the new process: Ctrl-C reaches it again, and it is told to end when the command is killed."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != command:  # killed already
        os.kill(os.getpid(), signal.SIGTERM)


def _as_owner(uid: int, gid: int) -> dict[str, Any]:
    """As root, the server runs as the owner of the home."""
    if os.geteuid() != 0 or uid == 0:
        return {}
    try:
        groups = os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        groups = [gid]
    return {"user": uid, "group": gid, "extra_groups": groups}
