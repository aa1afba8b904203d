"""The zygote of a release: the site's code, loaded once, without a thread or a database; servers are forked from it."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import socket
import sys
import traceback

from . import preload
from .forking import ForkFailed, fork_away
from .line import Line
from .messages import Forked, Order, OrderName, ServerSpec, Standing, WorkerState, ZygoteSpec, decode
from .server import ServerProcess

logger = logging.getLogger(__name__)


def main(argument: str) -> int:
    return Zygote(decode(ZygoteSpec, argument)).run()


class Zygote:
    """Loads, reports ready (or why not), forks a server whenever it is told."""

    def __init__(self, spec: ZygoteSpec) -> None:
        self._spec = spec
        self._kept: list[object] = []
        standing = Standing(WorkerState.STARTING, token=spec.token, zygote=spec.zygote)
        self._line = Line(spec.supervisor, standing, self._take_order)

    def run(self) -> int:
        """Returns the exit code; forks go on inside until the supervisor ends it."""
        name_process("zygote")
        before = preload.connections()
        try:
            preload.preload(self._spec.zope_ini, self._spec.zope_conf)
            preload.check_fork_safety(before)
        except preload.Unsafe as unsafe:
            self._line.tell_at_last(WorkerState.UNSAFE, str(unsafe))
            return 1
        except BaseException:  # noqa: BLE001 - whatever the site raises is what the admin wants to see
            reason = traceback.format_exc()
            self._line.tell_at_last(WorkerState.FAILED, reason)  # first: the disk of the log may be full
            sys.stderr.write(reason)
            return 1
        self._kept = preload.share_memory()
        self._line.tell(WorkerState.READY)
        self._line.run()
        return 0

    def _take_order(self, order: Order, _: socket.socket | None) -> None:
        if order.order is not OrderName.FORK:
            logger.warning("A zygote does not %s: the order is ignored", order.order)
        elif order.server is None:
            logger.warning("A zygote cannot fork without knowing which server: the order is ignored")
        else:
            self._line.mention(forked=self._fork(order.server, order.log))

    def _fork(self, spec: ServerSpec, log: str) -> Forked:
        try:
            return Forked(spec.token, pid=fork_away(functools.partial(self._become, spec, log)))
        except ForkFailed as failed:
            return Forked(spec.token, failure=str(failed))

    def _become(self, spec: ServerSpec, log: str) -> int:
        """In the child: be that server, to the end. Returns the exit code."""
        try:
            self._line.close()
            append_output_to(log)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            name_process(f"zope{spec.server}")
            return ServerProcess(spec, forked=True).run()
        except BaseException:  # noqa: BLE001 - nothing may reach the zygote's own frames
            traceback.print_exc()
            return 1
        finally:
            with contextlib.suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()


def append_output_to(log: str) -> None:
    """Where it cannot be opened, the output goes where it went: no server is worth less than its log."""
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    except (OSError, ValueError) as error:
        logger.warning("What is said from here on is a server's, whose log cannot be opened: %s", error)
        return
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)


def name_process(name: str) -> None:
    """What `ps -o comm` and `top` show."""
    with open("/proc/self/comm", "w", encoding="utf-8") as comm:
        comm.write(name)
