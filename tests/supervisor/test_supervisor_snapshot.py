"""What the supervisor shows of what runs: true at every moment, and by looking nothing changes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from fake_site import FakeSite
from fakes import soon

from zenwebserver.supervisor.parts.state import State
from zenwebserver.supervisor.snapshot import snapshot


def shown(site: FakeSite, number: int) -> dict[str, Any]:
    (server,) = [each for each in snapshot(site.supervisor)["servers"] if each["number"] == number]
    return dict(server)


async def test_a_site_that_runs(site: FakeSite) -> None:
    await site.started(2)
    await site.ok("detach", targets=["2"])
    site.process(1).says(requests=7, memory=1024, busy=1)
    found = snapshot(site.supervisor)
    json.dumps(found)
    assert found["home"] == str(site.home.path)
    assert found["running"] is True
    assert found["change"] == ""
    assert found["url"] == f"http://127.0.0.1:{site.base}/"
    assert found["loadbalancer"] == {"state": "running", "pid": site.balancer.pid, "reason": "", "ports": []}
    assert found["storage"]["state"] == "running"
    assert found["storage"]["pid"] == site.machine.storages[-1].pid
    assert found["releases"] == [{"name": "1", "zygote": site.machine.zygotes[0].pid}]
    assert shown(site, 1) == {
        "number": 1,
        "state": "running",
        "pid": site.process(1).pid,
        "reason": "",
        "host": "127.0.0.1",
        "port": site.base + 1,
        "listening": True,
        "release": "1",
        "ordinary": "",
        "warm": True,
        "figures": {"requests": 7, "memory": 1024, "busy": 1, "all_busy_seconds": 0.0},
        "leaving": [],
        "deployed": True,
        "attached": True,
        "nginx_sends": True,
    }
    assert [server["attached"] for server in found["servers"]] == [True, False]
    await site.end()


async def test_a_site_where_nothing_runs(site: FakeSite) -> None:
    found = snapshot(site.supervisor)
    assert (found["running"], found["servers"], found["releases"]) == (False, [], [])
    assert found["storage"]["pid"] is found["loadbalancer"]["pid"] is None
    await site.started(1)
    await site.end()
    found = snapshot(site.supervisor)
    assert found["running"] is False
    server = shown(site, 1)
    assert (server["state"], server["pid"], server["listening"], server["release"]) == ("stopped", None, False, None)
    assert (server["figures"], server["deployed"]) == ({}, True)


async def test_what_nginx_does_is_shown_beside_the_record(site: FakeSite) -> None:
    await site.started(3)
    await site.ok("detach", targets=["3"])
    site.balancer.rejects = "nginx: [emerg] unknown directive"
    site.machine.boots = lambda server: server.fails_after(0.1)
    site.process(2).die()
    await asyncio.sleep(100)
    assert [shown(site, number)["nginx_sends"] for number in (1, 2, 3)] == [True, True, False]
    assert shown(site, 2)["state"] == "failed"
    site.balancer.rejects = ""
    site.machine.boots = lambda server: server.boots()
    await site.ok("stop", targets=["nginx"])
    assert shown(site, 1)["nginx_sends"] is None
    await site.ok("start")
    assert [shown(site, number)["nginx_sends"] for number in (1, 2, 3)] == [True, True, False]
    await site.end()


async def test_whether_storage_is_needed_is_shown(site: FakeSite) -> None:
    assert snapshot(site.supervisor)["storage"]["needed"]
    text = site.home.zope_conf.read_text()
    site.home.zope_conf.write_text("<zodb_db")
    assert not snapshot(site.supervisor)["storage"]["needed"]
    site.home.zope_conf.write_text(text)
    await site.end()


async def test_an_exchange_is_nothing_to_whoever_looks(site: FakeSite) -> None:
    await site.started(1)
    site.machine.boots = lambda server: server.boots(10.0)
    restart = site.do("restart", targets=["servers"])
    seen = set()
    while not restart.ended:
        await asyncio.sleep(0.3)
        seen.add((shown(site, 1)["state"], shown(site, 1)["listening"]))
    assert seen == {("running", True)}
    await site.end()


async def test_one_that_comes_back_and_one_that_was_given_up_say_why(site: FakeSite) -> None:
    await site.started(2)
    site.machine.boots = lambda server: server.fails_after(0.2)
    site.process(2).die()
    await soon()
    server = shown(site, 2)
    assert (server["state"], server["listening"], server["reason"]) == ("reviving", False, "it was killed by SIGKILL")
    await asyncio.sleep(3)
    assert site.server(2).state is State.DOWN
    assert shown(site, 2)["state"] == "reviving"
    assert "ValueError: broken" in shown(site, 2)["reason"]
    await asyncio.sleep(60)
    assert shown(site, 2)["state"] == "failed"
    assert "5 deaths in a minute" in shown(site, 2)["reason"]
    await site.end()


async def test_a_zygote_that_is_gone_and_a_site_that_cannot_be_forked(site: FakeSite) -> None:
    await site.started(1)
    site.machine.zygotes[0].die()
    await soon()
    assert snapshot(site.supervisor)["releases"] == [{"name": "1", "zygote": None}]
    assert shown(site, 1)["warm"], "it is loaded again when it is needed"
    site.machine.loads = lambda zygote: zygote.is_unsafe("loading the site started a thread: poller")
    await site.ok("restart", targets=["1"])
    assert snapshot(site.supervisor)["releases"] == [{"name": "2", "zygote": None}]
    server = shown(site, 1)
    assert (server["warm"], server["ordinary"]) == (False, "loading the site started a thread: poller")
    await site.end()


async def test_what_leaves_is_shown_until_it_has_left(site: FakeSite) -> None:
    await site.started(1)
    former = site.process(1)
    former.call.leave_seconds = 30.0
    await site.ok("restart", targets=["1"])
    assert shown(site, 1)["leaving"] == [former.pid]
    await asyncio.sleep(31)
    assert shown(site, 1)["leaving"] == []
    await site.end()
