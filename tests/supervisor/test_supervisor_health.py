"""When a server is to be replaced and why, and that it is: at the right time, once, and without harm to others."""

from __future__ import annotations

import asyncio
import itertools
import signal
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from fake_machine import REPORT_SECONDS, ServerProcess
from fake_site import FakeSite
from fakes import soon

from zenwebserver.settings import parse
from zenwebserver.supervisor.health import (
    LOOK_SECONDS,
    MOST_JITTER,
    SILENT_SECONDS,
    STACKS_SECONDS,
    TRY_AGAIN_SECONDS,
    Health,
    verdict,
)
from zenwebserver.supervisor.parts.birth import PROBATION
from zenwebserver.supervisor.parts.state import State
from zenwebserver.worker.messages import Figures, Order, OrderName

PLAIN = parse("", Path("/home"))
MEGABYTE = 1024**2
NOTICED = SILENT_SECONDS + LOOK_SECONDS + STACKS_SECONDS + REPORT_SECONDS  # seconds, at most


def now() -> float:
    return asyncio.get_running_loop().time()


# The verdict.


def test_by_default_nothing_that_a_server_reports_replaces_it() -> None:
    figures = Figures(requests=10**9, memory=10**12, busy=4, all_busy_seconds=10**6)
    assert verdict(figures, 0.0, 1, PLAIN) is None
    assert verdict(Figures(), 0.0, 1, PLAIN) is None


def test_one_that_is_silent_cannot_be_asked_to_leave() -> None:
    assert verdict(Figures(), SILENT_SECONDS, 1, PLAIN) is None
    found = verdict(Figures(), SILENT_SECONDS + 1, 1, PLAIN)
    assert found
    assert (found.hangs, found.answers) == (True, False)
    assert found.why == "it has not reported for 31 s"


def test_one_whose_threads_are_all_busy_for_too_long_hangs() -> None:
    settings = replace(PLAIN, hung_timeout=60)
    assert verdict(Figures(all_busy_seconds=60.0), 0.0, 1, settings) is None
    found = verdict(Figures(all_busy_seconds=61.0), 0.0, 1, settings)
    assert found
    assert (found.hangs, found.answers) == (True, True)
    assert "61 s" in found.why


def test_neighbours_are_old_at_different_numbers_of_requests() -> None:
    settings = replace(PLAIN, max_requests=1000)
    pids = range(100, 100 + MOST_JITTER + 1)
    limits = [next(n for n in range(2000) if verdict(Figures(requests=n), 0.0, pid, settings)) for pid in pids]
    assert sorted(limits) == list(range(1000, 1101, 10))


@pytest.mark.parametrize(("memory", "replaced"), [(199 * MEGABYTE, False), (200 * MEGABYTE, True)])
def test_one_that_has_grown_is_replaced_while_it_serves(memory: int, replaced: bool) -> None:
    found = verdict(Figures(memory=memory), 0.0, 1, replace(PLAIN, max_memory=200 * MEGABYTE))
    assert bool(found) == replaced
    if found:
        assert (found.why, found.hangs) == ("it has 200 MB of memory", False)


# The watch.


async def watched(site: FakeSite, servers: int = 2, **settings: object) -> None:
    """A site that runs and is watched, and whose servers report."""
    site.set(**settings)
    site.machine.reports = True
    await site.started(servers)
    site.tasks.keep("health", Health(site.supervisor).watch)


async def freeze(seconds: float) -> None:
    """The whole machine stands still for so long."""
    asyncio.get_running_loop()._clock.now += seconds  # type: ignore[attr-defined]
    await asyncio.sleep(0)


async def test_servers_that_report_are_left_alone(site: FakeSite) -> None:
    await watched(site, hungTimeout=60, maxRequests=1000, maxMemory="200m")
    pids = site.pids()
    site.process(1).says(requests=999, memory=199 * MEGABYTE, all_busy_seconds=60.0)
    await asyncio.sleep(3600)
    assert site.pids() == pids
    assert site.process(1).signals == []
    await site.end()


async def test_a_silent_one_is_killed_and_comes_back_though_a_long_change_goes_on(site: FakeSite) -> None:
    await watched(site)
    process = site.process(2)
    async with site.supervisor.changes.make("something long"):
        process.silent = True
        process.ignores |= {signal.SIGTERM}
        await asyncio.sleep(SILENT_SECONDS - REPORT_SECONDS)
        assert process.running
        await asyncio.sleep(NOTICED - SILENT_SECONDS + REPORT_SECONDS)
        assert process.signals == [signal.SIGUSR1, signal.SIGKILL], "its stacks are in its log"
        await soon()
        assert site.server(2).serves
        assert site.process(2) is not process
    assert site.process(1).signals == []
    await site.end()


async def test_a_silent_one_that_is_to_stop_is_killed_too(site: FakeSite) -> None:
    await watched(site)
    site.balancer.finishes = None
    stop = site.do("stop", targets=["2"])
    await soon()
    process = site.process(2)
    process.silent = True
    await asyncio.sleep(NOTICED)
    assert not process.running
    site.balancer.finish()
    assert (await stop).exit == 0
    assert site.server(2).state is State.STOPPED
    assert len(site.processes(2)) == 1
    await site.end()


async def test_one_that_hangs_is_exchanged_within_its_release_and_goes_when_it_has_answered(site: FakeSite) -> None:
    await watched(site, hungTimeout=60)
    process = site.process(2)
    process.call.leave_seconds = 100.0
    site.machine.boots = lambda server: server.boots(3.0)
    process.says(all_busy_seconds=61.0)
    await asyncio.sleep(LOOK_SECONDS + STACKS_SECONDS + 2)
    assert site.supervisor.changes.current == "replacing Server 2"
    assert process.accepts, "it serves until its successor does"
    await asyncio.sleep(5)
    assert site.server(2).state is State.RUNNING, "settled"
    assert site.process(2).accepts
    assert site.process(2).spec.release == "1"
    assert process.signals == [signal.SIGUSR1]
    assert process.orders[-1] is OrderName.LEAVE
    assert len(site.processes(2)) == 2
    await asyncio.sleep(200)
    assert not process.running
    assert len(site.processes(2)) == 2, "once"
    await site.end()


async def test_one_that_has_grown_old_is_exchanged_without_a_word_in_its_log(site: FakeSite) -> None:
    await watched(site, maxRequests=1000)
    process = site.process(1)
    process.says(requests=1100)
    await asyncio.sleep(10)
    assert not process.running
    assert process.signals == []
    assert site.process(1).accepts
    assert len(site.machine.servers) == 3
    await site.end()


async def test_an_exchange_waits_for_the_change_that_is_under_way_and_is_not_made_if_that_made_it(
    site: FakeSite,
) -> None:
    await watched(site, hungTimeout=60)
    async with site.supervisor.changes.make("something long"):
        site.process(1).says(all_busy_seconds=61.0)
        await asyncio.sleep(100)
        assert len(site.processes(1)) == 1
        await site.server(1).exchange(site.supervisor.releases[0])
        site.server(1).settle()
    await asyncio.sleep(10)
    assert len(site.processes(1)) == 2
    async with site.supervisor.changes.make("something long"):
        site.process(1).says(all_busy_seconds=61.0)
        await asyncio.sleep(100)
    await asyncio.sleep(10)
    assert len(site.processes(1)) == 3
    assert site.supervisor.changes.idle
    await site.end()


async def test_a_replacement_that_failed_is_tried_again_after_a_pause_and_the_server_serves_on(site: FakeSite) -> None:
    await watched(site, hungTimeout=60)
    process = site.process(2)
    begun = list[float]()

    def fails(server: ServerProcess) -> None:
        begun.append(now())
        server.fails()

    site.machine.boots = fails
    process.says(all_busy_seconds=61.0)
    await asyncio.sleep(3 * TRY_AGAIN_SECONDS)
    assert len(begun) == 3
    pauses = [later - earlier for earlier, later in itertools.pairwise(begun)]
    assert all(TRY_AGAIN_SECONDS <= pause <= TRY_AGAIN_SECONDS + 5 for pause in pauses), pauses
    assert process.accepts
    assert site.server(2).state is State.RUNNING
    site.machine.boots = lambda server: server.boots()
    await asyncio.sleep(TRY_AGAIN_SECONDS + 5)
    assert site.process(2).accepts
    assert not process.running
    await site.end()


async def test_one_whose_successors_die_as_soon_as_they_serve_is_tried_again_after_a_pause_too(
    site: FakeSite, caplog: pytest.LogCaptureFixture
) -> None:
    await watched(site, hungTimeout=60)
    process, obey = site.process(2), site.process(2).call.obey

    def obeys_late(order: Order, listener: socket.socket | None) -> None:
        asyncio.get_running_loop().call_later(0.5, now_obeys, order, listener and listener.dup())

    def now_obeys(order: Order, listener: socket.socket | None) -> None:
        obey(order, listener)
        if listener:
            listener.close()

    process.call.obey = obeys_late  # type: ignore[method-assign]
    begun = list[float]()

    def boots(server: ServerProcess) -> None:
        begun.append(now())
        server.boots()
        asyncio.get_running_loop().call_later(PROBATION, dies, server)

    def dies(server: ServerProcess) -> None:
        if server.accepts:
            server.die()
        elif server.running:
            asyncio.get_running_loop().call_later(0.01, dies, server)

    site.machine.boots = boots
    process.says(all_busy_seconds=61.0)
    await asyncio.sleep(3 * TRY_AGAIN_SECONDS)
    assert len(begun) == 3
    pauses = [later - earlier for earlier, later in itertools.pairwise(begun)]
    assert all(TRY_AGAIN_SECONDS <= pause <= TRY_AGAIN_SECONDS + 20 for pause in pauses), pauses
    assert process.accepts
    assert site.server(2).state is State.RUNNING
    assert "its former process goes on" in caplog.text
    assert (await site.ok("restart", targets=["1"])).exit == 0
    site.machine.boots = lambda server: server.boots()
    await site.end()


async def test_one_that_hangs_but_is_to_stop_already_is_not_replaced_again_and_again(site: FakeSite) -> None:
    await watched(site, hungTimeout=60)
    process = site.process(2)
    site.balancer.finishes = None
    stop = site.do("stop", targets=["2"])
    await soon()
    process.says(all_busy_seconds=61.0)
    await asyncio.sleep(60)
    assert process.signals == []
    site.balancer.finish()
    assert (await stop).exit == 0
    await site.end()


async def test_one_that_falls_silent_is_not_spared_by_that_pause(site: FakeSite) -> None:
    await watched(site, hungTimeout=60)
    process = site.process(2)
    site.machine.boots = ServerProcess.fails
    process.says(all_busy_seconds=61.0)
    await asyncio.sleep(5)
    process.silent = True
    site.machine.boots = lambda server: server.boots()
    await asyncio.sleep(NOTICED)
    assert not process.running
    assert site.server(2).serves
    await site.end()


async def test_a_watcher_that_was_frozen_forgives_the_silence(site: FakeSite) -> None:
    await watched(site, 3)
    pids = site.pids()
    for _ in range(3):
        await asyncio.sleep(7.3)
        await freeze(40)
    await asyncio.sleep(60)
    assert site.pids() == pids
    assert all(process.signals == [] for process in site.machine.servers)
    await site.end()


async def test_a_storage_that_was_frozen_too_has_the_time_to_report(site: FakeSite) -> None:
    await watched(site)
    storage = site.machine.storages[-1]
    await asyncio.sleep(7.3)
    storage.silent = True
    await freeze(40)
    await asyncio.sleep(REPORT_SECONDS)
    storage.silent = False
    await asyncio.sleep(60)
    assert storage.signals == []
    await site.end()


async def test_one_that_is_stuck_is_noticed_all_the_same_some_time_after_a_freeze(site: FakeSite) -> None:
    await watched(site)
    process = site.process(2)
    process.silent = True
    await asyncio.sleep(10)
    await freeze(40)
    await asyncio.sleep(SILENT_SECONDS - 5)
    assert process.running
    await asyncio.sleep(NOTICED)
    assert not process.running
    await site.end()


async def test_one_wrong_report_does_not_end_the_watch(site: FakeSite, caplog: pytest.LogCaptureFixture) -> None:
    await watched(site, hungTimeout=60)
    process = site.process(1)
    process.says(all_busy_seconds="x")
    await asyncio.sleep(2)
    assert "health failed, and goes on in 1 s" in caplog.text
    process.says(all_busy_seconds=0.0)
    site.process(2).silent = True
    killed = site.process(2)
    await asyncio.sleep(NOTICED)
    assert not killed.running
    assert process.running
    await site.end()


async def test_one_that_does_not_run_is_not_looked_at(site: FakeSite, caplog: pytest.LogCaptureFixture) -> None:
    await watched(site)
    await site.ok("stop", targets=["2"])
    site.machine.boots = lambda server: server.boots(100.0)
    site.process(1).die()
    await asyncio.sleep(90)
    assert site.server(2).state is State.STOPPED
    assert not site.server(1).serves
    assert len(site.machine.servers) == 3
    assert "is replaced" not in caplog.text
    await site.end()
