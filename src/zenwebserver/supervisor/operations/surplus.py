"""Servers that run though the record does not ask for them, such as after a deploy that was cut off."""

from __future__ import annotations

from zenwebserver.supervisor.report import Report
from zenwebserver.supervisor.supervisor import Supervisor


async def remove_surplus(supervisor: Supervisor, report: Report) -> None:
    """Out of the pool, drained, destroyed; the highest first."""
    surplus = sorted(set(supervisor.servers) - set(supervisor.pool.servers), reverse=True)
    if not surplus:
        return
    with report.step("Taking them out of the pool"):
        if not await supervisor.publish(wait=True):
            report.note("Requests in nginx outlasted drainTimeout")
    for number in surplus:
        with report.step(f"Removing Server {number}"):
            await supervisor.destroy_server(number)
