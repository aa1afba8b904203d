"""A zygote is asked for servers, and each of its answers is for whoever asked."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from zenwebserver.machine.identity import Identity
from zenwebserver.machine.processes import Process
from zenwebserver.supervisor.line.worker import StartError, Worker
from zenwebserver.worker.messages import Forked, OrderName, ServerSpec, Standing

# The zygote itself gives up after 5 s; one that says nothing for so long is stuck. What it has forked meanwhile is a
# child of ours, whose end is kept for at least so long (machine/processes.py, reap_orphans).
FORK_SECONDS = 15.0
CALL_SECONDS = 2.0  # a zygote whose line is broken calls again every 0.2 s (worker/line.py)


class ZygoteLost(StartError):
    """The zygote ended, or is stuck, before it had forked."""


class Forks:
    """What the zygotes of one release are asked for and have not answered yet, by the token of the order."""

    def __init__(self, release: str) -> None:
        self._release = release
        self._asked: dict[str, asyncio.Future[Forked]] = {}

    async def ask(self, zygote: Worker, spec: ServerSpec, log: Path) -> Process:
        """The process that it forks, whose output goes to `log`. Raises ZygoteLost, StartError."""
        answer = self._asked[spec.token] = asyncio.get_running_loop().create_future()
        try:
            told = await zygote.reached(CALL_SECONDS) and zygote.order(OrderName.FORK, server=spec, log=str(log))
            either: list[asyncio.Future[Any]] = [answer, zygote.process.exited]
            if told:
                await asyncio.wait(either, timeout=FORK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._asked[spec.token]
        if not answer.done():
            how = zygote.process.exited.result() if not zygote.process.running else "does not answer"
            raise ZygoteLost(f"could not be forked: the zygote of release {self._release} {how}")
        forked = answer.result()
        if forked.failure:
            raise StartError(forked.failure)
        try:
            return Process(Identity.of(forked.pid) or Identity(forked.pid, 0))  # dead, it still tells how it ended
        except ProcessLookupError:
            raise StartError("ended at once after the fork") from None

    def hear(self, standing: Standing) -> None:
        """What a zygote says."""
        forked = standing.forked
        if forked and (answer := self._asked.get(forked.token)) and not answer.done():
            answer.set_result(forked)
