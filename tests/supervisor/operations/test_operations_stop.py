"""stop: in which order parts end, who may change things meanwhile, and that a start in between holds."""

from __future__ import annotations

import asyncio

import pytest
from fake_site import FakeSite
from fakes import soon

from zenwebserver.supervisor.parts.state import State
from zenwebserver.worker.messages import OrderName


async def test_everything_stops_in_order_nginx_then_servers_then_storage(
    site: FakeSite, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    await site.started(2)
    caplog.clear()
    site.balancer.stop_seconds = 10.0
    for number in (1, 2):
        site.process(number).call.leave_seconds = 20.0
    stop = site.do("stop")
    await asyncio.sleep(5)
    assert site.process(1).accepts, "nginx still answers what it has"
    await asyncio.sleep(20)
    assert site.supervisor.storage.serves, "servers that leave need it"
    await stop
    assert list(stop.steps) == [
        "Stopping Load balancer",
        "Stopping Server 1",
        "Stopping Server 2",
        "Stopping Storage",
    ]
    assert stop.done == "Stopped"
    became = [message for message in caplog.messages if ", now stopping" in message or ", now stopped" in message]
    assert [message.split(":")[0] for message in became] == [
        *["Load balancer"] * 2,
        *["Server 1", "Server 2"] * 2,
        *["Storage"] * 2,
    ]
    assert all(not process.signals for process in site.machine.servers), "each left by itself"
    assert site.machine.zygotes[-1].signals, "with its last server"
    await site.end()


async def test_what_is_stopped_already_is_told_where_it_was_named(site: FakeSite) -> None:
    await site.started(2)
    await site.ok("stop", targets=["2"])
    again = await site.ok("stop", targets=["2"])
    assert again.notes == ["Server 2 is stopped already"]
    await site.ok("stop")
    assert (await site.ok("stop")).notes == []
    again = await site.ok("stop", targets=["nginx", "storage"])
    assert again.notes == ["Load balancer is stopped already", "Storage is stopped already"]
    await site.end()


async def test_a_server_is_told_to_leave_only_when_nginx_does_not_know_it_any_more(site: FakeSite) -> None:
    await site.started(2)
    site.balancer.finishes = 50.0
    process = site.process(2)
    stop = site.do("stop", targets=["2"])
    await asyncio.sleep(49)
    assert site.nginx_knows(2)
    assert process.accepts
    assert OrderName.LEAVE not in process.orders
    await stop
    assert not site.nginx_knows(2)
    assert OrderName.LEAVE in process.orders
    assert not process.running
    assert site.pids() == {1: site.process(1).pid, 2: None}
    await site.end()


async def test_others_may_change_things_while_nginx_and_the_server_finish(site: FakeSite) -> None:
    await site.started(3)
    site.balancer.finishes = 50.0
    site.process(3).call.leave_seconds = 100.0
    stop = site.do("stop", targets=["3"])
    await soon()
    assert site.supervisor.changes.current == ""
    assert (await site.ok("restart", targets=["1"])).notes == []
    await asyncio.sleep(55)
    assert site.server(3).state is State.STOPPED
    assert len(site.server(3).leaving) == 1
    assert not stop.ended
    assert (await site.ok("restart", targets=["2"])).notes == []
    assert not stop.ended, "the server has not answered all yet"
    assert (await stop).done == "Stopped"
    await site.end()


async def test_a_start_while_nginx_still_finishes_keeps_that_very_process(site: FakeSite) -> None:
    await site.started(2)
    site.balancer.finishes = None
    pids = site.pids()
    stop = site.do("stop", targets=["2"])
    await asyncio.sleep(10)
    assert not site.server(2).wanted
    start = site.do("start")
    await asyncio.sleep(10)
    assert start.exit == 0
    assert site.nginx_knows(2)
    site.balancer.finish()
    assert (await stop).exit == 0
    assert site.nginx_knows(2), "by the new workers"
    assert site.pids() == pids
    assert site.process(2).accepts
    assert OrderName.LEAVE not in site.process(2).orders
    assert "Stopping Server 2" not in stop.steps
    assert stop.notes == ["Server 2 was started again meanwhile"]
    await site.end()


async def test_a_server_that_still_leaves_is_waited_for_by_a_second_stop_and_by_the_stop_of_everything(
    site: FakeSite,
) -> None:
    await site.started(2)
    site.process(2).call.leave_seconds = 100.0
    first = site.do("stop", targets=["2"])
    await asyncio.sleep(10)
    second = site.do("stop", targets=["2"])
    everything = site.do("stop")
    await asyncio.sleep(50)
    assert not second.ended
    assert site.supervisor.storage.serves, "it has a transaction to finish"
    await asyncio.sleep(41)
    assert (first.exit, second.exit, everything.exit) == (0, 0, 0)
    assert site.supervisor.idle
    await site.end()


async def test_one_that_outlasts_the_drain_timeout_is_killed(site: FakeSite) -> None:
    site.set(drainTimeout=60)
    await site.started(2)
    site.process(2).call.leave_seconds = 10_000.0
    begun = asyncio.get_running_loop().time()
    await site.ok("stop", targets=["2"])
    assert asyncio.get_running_loop().time() - begun < 60 + 30
    assert not site.process(2).running
    await site.end()


async def test_the_last_server_of_a_release_takes_it_along(site: FakeSite) -> None:
    await site.started(2)
    await site.ok("restart", targets=["1"])
    assert site.releases() == ["1", "2"]
    await site.ok("stop", targets=["1"])
    assert site.releases() == ["1"]
    assert [zygote.running for zygote in site.machine.zygotes] == [True, False]
    await site.end()


async def test_one_that_comes_back_is_ended_and_stays_so(site: FakeSite) -> None:
    await site.started(2)
    site.machine.boots = lambda server: server.boots(10.0)
    site.process(2).die()
    await asyncio.sleep(5)
    await site.ok("stop", targets=["2"])
    await asyncio.sleep(100)
    assert site.server(2).state is State.STOPPED
    assert not site.process(2).running
    assert not site.nginx_knows(2)
    await site.end()


async def test_it_works_with_settings_and_a_record_that_cannot_be_read(site: FakeSite) -> None:
    await site.started(2)
    site.home.settings_file.write_text("httpPort many\n")
    site.home.pool_record.write_text("{")
    await site.ok("stop")
    assert site.machine.running == []
    site.set()
    await site.end()
