"""attach and detach: which servers nginx sends traffic to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from zenwebserver.errors import UsageError, ZenwebserverError
from zenwebserver.pool import Pool, parse_targets
from zenwebserver.supervisor.operations.steps import names, prepare, put_back, refuse_empty
from zenwebserver.supervisor.report import Report
from zenwebserver.supervisor.supervisor import Supervisor


async def attach(supervisor: Supervisor, report: Report, *, targets: Sequence[str]) -> str:
    """Put servers back into the pool."""
    numbers = _numbers(supervisor, report, targets)
    for number in numbers:
        if supervisor.pool.servers[number]:
            report.note(f"Server {number} is attached already")
    wanted = supervisor.pool.with_attached(numbers, True)
    with report.step(f"Attaching {names(numbers)}"), _recorded(supervisor, wanted):
        await supervisor.publish()
    return _closing(supervisor, "Attached")


async def detach(supervisor: Supervisor, report: Report, *, targets: Sequence[str], force: bool = False) -> str:
    """Take servers out of the pool; they go on running, and no nginx worker knows them any more when this ends."""
    numbers = _numbers(supervisor, report, targets)
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
        if not await supervisor.balancer.workers_gone(outdated):
            report.note("Requests in nginx outlasted drainTimeout")
    return _closing(supervisor, "Detached")


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


def _numbers(supervisor: Supervisor, report: Report, targets: Sequence[str]) -> tuple[int, ...]:
    prepare(supervisor, report)
    if not targets:
        raise UsageError("Which servers?", hint=f"Name them: {' '.join(f'server{n}' for n in supervisor.pool.numbers)}")
    return parse_targets(targets, supervisor.pool, allowed=("servers",)).servers


def _closing(supervisor: Supervisor, what: str) -> str:
    if supervisor.balancer.serves:
        return what
    return f"{what}; the load balancer is not running, so it holds from its next start"
