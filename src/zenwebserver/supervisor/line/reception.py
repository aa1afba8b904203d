"""Who is expected to call, by the token of the order that it was made for; whoever else calls is sent away."""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
from collections.abc import Callable
from pathlib import Path

from zenwebserver.machine.identity import Identity
from zenwebserver.machine.processes import Process
from zenwebserver.supervisor.line.switchboard import Call
from zenwebserver.supervisor.line.worker import LAST_CALL_SECONDS, Worker
from zenwebserver.worker.messages import Order, OrderName

logger = logging.getLogger(__name__)


class Reception:
    """Joins calls and workers.

    Until `adopted`, callers whom nobody expects wait: an earlier supervisor may have made them.
    """

    def __init__(self, is_ours: Callable[[Call], bool] = lambda _: True) -> None:
        """`is_ours` tells processes of this home from those of one that was at its path before."""
        self.drain_timeout = 600.0  # seconds
        self._is_ours = is_ours
        self._expected: dict[str, Worker] = {}
        self._waiting: dict[str, Call] | None = {}  # None: everybody who was here before us is known

    def expect(self, log: Path) -> Worker:
        """A worker with a token of its own, before its process is made, so that nothing it says is lost."""
        worker = Worker(secrets.token_hex(8), log)
        self._expected[worker.token] = worker
        return worker

    def born(self, worker: Worker, process: Process) -> Worker:
        """Its process is there. When that has ended, it is expected no more, but for the call that it made last."""
        worker.born(process)
        process.exited.add_done_callback(
            lambda _: asyncio.get_running_loop().call_later(LAST_CALL_SECONDS, self.forget, worker)
        )
        return worker

    def forget(self, worker: Worker) -> None:
        """It is not expected any more: should it call after all, it is nobody's."""
        self._expected.pop(worker.token, None)

    def answer(self, call: Call) -> None:
        """A process called."""
        token = _token(call)
        if worker := self._expected.get(token):
            worker.answer(call)
            call.drop_listener()  # ours already
        elif not self._is_ours(call):
            logger.warning("Process %d is of another home, and is left alone: %s", call.pid, call.standing)
            call.drop_listener()
        elif self._waiting is not None:
            self._waiting[token] = call
        else:
            self._send_away(call)

    def waiting(self) -> list[Call]:
        """Processes that called though nobody here made them: an earlier supervisor did."""
        return [call for call in (self._waiting or {}).values() if call.open]

    def adopt(self, call: Call, process: Process, log: Path) -> Worker:
        """The one that waits on `call`, or has called again since, is ours from now on."""
        worker = Worker(_token(call), log)
        self._expected[worker.token] = worker
        if self._waiting:
            call = self._waiting.pop(worker.token, call)
        self.born(worker, process)
        worker.answer(call)
        return worker

    def adopted(self) -> None:
        """What an earlier supervisor left is known: whoever still waits is nobody's."""
        waiting, self._waiting = self.waiting(), None
        for call in waiting:
            self._send_away(call)

    def _send_away(self, call: Call) -> None:
        """A server finishes what it has accepted and ends; a zygote ends."""
        logger.warning("Process %d is nobody's and is ended: %s", call.pid, call.standing)
        call.order(Order(OrderName.LEAVE, timeout=self.drain_timeout))
        call.drop_listener()
        if call.standing.zygote and (identity := Identity.of(call.pid)) and (zygote := Process.adopt(identity)):
            zygote.send(signal.SIGKILL)  # it holds nothing, and may be stopped


def _token(call: Call) -> str:
    """Processes of before there were tokens are known by their pids."""
    return call.standing.token or f"pid {call.pid}"
