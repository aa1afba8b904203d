"""How a process comes to serve: it boots, and is tried where no visitor can come, before it gets the pool's socket.

Without the trial, one that dies after its first request takes a visitor's with it.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from zenwebserver.errors import told
from zenwebserver.machine.ports import bind
from zenwebserver.supervisor.line.probe import probe
from zenwebserver.supervisor.line.worker import StartError, Worker
from zenwebserver.supervisor.parts.release import Release
from zenwebserver.worker.messages import OrderName, WorkerState

# Seconds: a booted server needs no longer to answer an order.
PROMPT = 15.0
# Seconds for which a new process must live on after its first answer.
PROBATION = 0.3
# How a process ends (machine/processes.py) that cannot live with being forked; a SIGKILL is an admin's or the kernel's.
CRASHES = tuple(f"was killed by {name}" for name in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE", "SIGTRAP"))


@dataclass(frozen=True)
class Generation:
    """One of the processes that stand behind a server's socket in turn, and the release that it comes from."""

    worker: Worker
    release: Release


async def booted(launch: Callable[[], Awaitable[Worker]], release: Release, title: str, seconds: float) -> Worker:
    """A process of `release` that is ready. One that crashes right after the fork is tried once more without forking.

    Raises StartError, OSError; then it has ended.
    """
    forks = release.forks
    try:
        worker = await launch()
        try:
            await worker.until(WorkerState.READY, seconds)
        except BaseException:
            await worker.process.end(signal.SIGKILL, PROMPT)
            raise
    except StartError as error:
        if not forks or error.message not in CRASHES:
            raise
        await release.distrust(f"{title} {error.message} right after the fork")
        return await booted(launch, release, title, seconds)
    return worker


async def try_out(worker: Worker, host: str, seconds: float) -> None:
    """It must answer a request within `seconds`, and live on. Raises StartError."""
    with bind(host, 0) as aside:
        worker.order(OrderName.TRY, aside)
        await worker.until(WorkerState.TRYING, PROMPT)
        try:
            await probe(aside.getsockname()[:2], seconds)
        except OSError as error:
            if not await worker.process.wait(PROBATION):
                raise StartError(f"did not answer: {told(error)}", detail=worker.last_words()) from None
    if await worker.process.wait(PROBATION):
        how = worker.process.exited.result()
        raise StartError(f"{how} after its first request", detail=worker.last_words())
