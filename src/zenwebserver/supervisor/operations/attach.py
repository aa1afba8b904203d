"""attach and detach: which servers nginx sends traffic to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence

from zenwebserver.errors import UsageError, ZenwebserverError
from zenwebserver.pool import Pool, parse_targets
from zenwebserver.supervisor.operations.steps import names, prepare, put_back, refuse_empty
from zenwebserver.supervisor.report import Report
from zenwebserver.supervisor.supervisor import Supervisor


async def attach(supervisor: Supervisor, report: Report, *, targets: Sequence[str]) -> str:
    """Put servers back into the pool."""
    numbers = _numbers(supervisor, targets)
    for number in numbers:
        if supervisor.pool.servers[number]:
            report.note(f"Server {number} is attached already")
    wanted = supervisor.pool.with_attached(numbers, True)
    changing = [number for number in numbers if not supervisor.pool.servers[number]]
    step = report.step(f"Attaching {names(changing)}") if changing else contextlib.nullcontext()
    with step, _recorded(supervisor, wanted):
        await supervisor.publish()
    return _closing(supervisor, "Attached")


async def detach(supervisor: Supervisor, report: Report, *, targets: Sequence[str], force: bool = False) -> str:
    """Take servers out of the pool; they go on running.

    When this ends, nginx sends them nothing any more, and what it had sent is answered.
    """
    numbers = _numbers(supervisor, targets)
    wanted = supervisor.pool.with_attached(numbers, False)
    for number in numbers:
        if not supervisor.pool.servers[number]:
            report.note(f"Server {number} is detached already")
    if wanted != supervisor.pool and not force:
        refuse_empty(
            supervisor,
            wanted,
            without=numbers,
            hint="Nothing was done. With --force visitors get the 50x page until a server is attached.",
        )
    with report.step(f"Detaching {names(numbers)}"):
        with _recorded(supervisor, wanted):
            outdated = await supervisor.publish()
        supervisor.changes.finish()
        done = await supervisor.balancer.workers_gone(outdated)
        if not await have_answered(supervisor, numbers) or not done:
            report.note("Requests in nginx outlasted drainTimeout")
    return _closing(supervisor, "Detached")


async def have_answered(supervisor: Supervisor, numbers: Sequence[int]) -> bool:
    """Wait until what nginx had sent to these servers is answered; false where it takes longer than drainTimeout.

    After a reload there is nothing to wait for: nginx's old workers went with their last answer.
    """
    if supervisor.balancer.names.told is None:
        return True
    workers = [worker for number in numbers if (worker := supervisor.servers[number].worker)]
    seconds = supervisor.settings.drain_timeout
    return all(await asyncio.gather(*(worker.has_answered(seconds) for worker in workers)))


@contextlib.contextmanager
def _recorded(supervisor: Supervisor, wanted: Pool) -> Iterator[None]:
    """It is the record; where nginx takes it not, the former one is again. Cut off in the middle, it stays."""
    former = supervisor.pool
    supervisor.record(wanted)
    try:
        yield
    except ZenwebserverError as error:
        put_back(supervisor, former, error)
        raise


def _numbers(supervisor: Supervisor, targets: Sequence[str]) -> tuple[int, ...]:
    prepare(supervisor, anywhere=True)  # what runs, runs
    if not targets:
        raise UsageError("Which servers?", hint=f"Name them: {' '.join(f'server{n}' for n in supervisor.pool.numbers)}")
    return parse_targets(targets, supervisor.pool, allowed=("servers",)).servers


def _closing(supervisor: Supervisor, what: str) -> str:
    if supervisor.balancer.serves:
        return what
    return f"{what}; the load balancer is not running, so it holds from its next start"
