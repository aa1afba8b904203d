"""run and debug: one server in the foreground of this terminal."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
from typing import Any

from zenwebserver import ports
from zenwebserver.cli import output
from zenwebserver.cli.main import verb
from zenwebserver.client import Client
from zenwebserver.errors import Exit


@verb("run")
def run(client: Client, *, verbose: bool) -> Exit:
    """Run Zope in the foreground on the load balancer's port; Ctrl-C ends it."""
    return _hold(client, "run", verbose=verbose)


@verb("debug")
def debug(client: Client, *, verbose: bool) -> Exit:
    """Run one more server in the foreground, in debug mode, outside the pool; a debugger can use this terminal."""
    del verbose
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
    with ports.bind(host, lent["port"]) as listener:
        *command, order = lent["session"]
        order = json.dumps({**json.loads(order), "listener": listener.fileno()})
        shown = "127.0.0.1" if host == "*" else f"[{host}]" if ":" in host else host
        output.line(f"http://{shown}:{lent['port']}/  (Ctrl-C ends it)")
        # The terminal's Ctrl-C reaches the server itself; we wait until it has ended.
        former = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            process = subprocess.Popen(
                [*command, order],
                env=lent["environment"],
                pass_fds=(listener.fileno(),),
                preexec_fn=_restore_interrupt,
                **_as_owner(lent["uid"], lent["gid"]),
            )
            code = process.wait()
        finally:
            signal.signal(signal.SIGINT, former)
    return Exit.DONE if code == 0 else Exit.FAILED


def _restore_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _as_owner(uid: int, gid: int) -> dict[str, Any]:
    """As root, the server runs as the owner of the home."""
    if os.geteuid() != 0 or uid == 0:
        return {}
    try:
        groups = os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        groups = [gid]
    return {"user": uid, "group": gid, "extra_groups": groups}
