"""A new process answers a request where no visitor can come, and lives on, before it gets the pool's socket.

Without that, one that dies after its first request takes a visitor's with it.
"""

from __future__ import annotations

from zenwebserver.machine.ports import bind
from zenwebserver.supervisor.line.probe import probe
from zenwebserver.supervisor.line.worker import StartError, Worker
from zenwebserver.worker.messages import OrderName, WorkerState

# Seconds for which a new process must live on after its first answer.
PROBATION = 0.3


async def try_out(worker: Worker, host: str, *, prompt: float, answer: float) -> None:
    """`prompt` seconds until it is on trial, `answer` seconds for its answer. Raises StartError."""
    with bind(host, 0) as aside:
        worker.order(OrderName.TRY, aside)
        await worker.until(WorkerState.TRYING, prompt)
        try:
            await probe(aside.getsockname()[:2], answer)
        except OSError as error:
            if not await worker.process.wait(PROBATION):
                raise StartError(
                    f"did not answer: {error or type(error).__name__}", detail=worker.last_words()
                ) from None
    if await worker.process.wait(PROBATION):
        how = worker.process.exited.result()
        raise StartError(f"{how} after its first request", detail=worker.last_words())
