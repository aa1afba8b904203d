"""The zygote of a release: the site's code, loaded once, without a thread or a database; servers are forked from it."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import traceback
from dataclasses import dataclass
from typing import Any

from . import preload
from .line import Line
from .server import Order, PoolServer


@dataclass(frozen=True)
class ZygoteOrder:
    """What to load; the process's argument is this as JSON."""

    zygote: str  # the release
    zope_ini: str
    zope_conf: str
    supervisor: str


def main(argument: str) -> int:
    return Zygote(ZygoteOrder(**json.loads(argument))).run()


class Zygote:
    """Loads, reports ready (or why not), forks a server whenever it is told."""

    def __init__(self, order: ZygoteOrder) -> None:
        self._order = order
        self._kept: list[object] = []
        self._line = Line(order.supervisor, {"zygote": order.zygote}, self._take_order)

    def run(self) -> int:
        """Returns the exit code; forks go on inside until the supervisor ends it."""
        name_process("zygote")
        before = preload.connections()
        try:
            preload.preload(self._order.zope_ini, self._order.zope_conf)
            preload.check_fork_safety(before)
        except preload.Unsafe as unsafe:
            return self._give_up("unsafe", str(unsafe))
        except BaseException:  # noqa: BLE001 - whatever the site raises is what the admin wants to see
            reason = traceback.format_exc()
            sys.stderr.write(reason)
            return self._give_up("failed", reason)
        self._kept = preload.share_memory()
        self._line.tell("ready")
        self._line.run()
        return 0

    def _give_up(self, state: str, reason: str) -> int:
        self._line.tell(state, reason=reason)
        self._line.say_goodbye()
        return 1

    def _take_order(self, order: dict[str, Any], _: socket.socket | None) -> None:
        if order["order"] == "fork":
            pid, signal_number = self._fork(Order(**order["server"]), order["log"])
            self._line.mention(forked=order["token"], forked_pid=pid, forked_signal=signal_number)

    def _fork(self, order: Order, log: str) -> tuple[int, int]:
        """Fork twice, so that the server is the supervisor's child and not ours.

        Returns its pid; or 0 and the signal that killed the first fork at once.
        """
        reading, writing = os.pipe()
        middle = os.fork()
        if middle == 0:
            server = os.fork()
            if server == 0:
                os.close(reading)
                os.close(writing)
                self._become(order, log)
            os.write(writing, str(server).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as said:
            pid = int(said.read() or 0)
        _, status = os.waitpid(middle, 0)
        return pid, 0 if pid else os.WTERMSIG(status)

    def _become(self, order: Order, log: str) -> None:
        """In the child: be that server, to the end."""
        code = 1
        try:
            self._line.close()
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.close(output)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            name_process(f"zope{order.server}")
            code = PoolServer(order, forked=True).run()
        except BaseException:  # noqa: BLE001 - nothing may reach the zygote's own frames
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def name_process(name: str) -> None:
    """What `ps -o comm` and `top` show."""
    with open("/proc/self/comm", "w", encoding="utf-8") as comm:
        comm.write(name)
