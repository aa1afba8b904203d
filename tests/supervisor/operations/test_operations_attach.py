"""attach and detach: which servers nginx sends to, and when it is true that it does not any more."""

from __future__ import annotations

import asyncio
import errno
import json
import os

import pytest
from fake_site import FakeSite
from fakes import soon


def attached(site: FakeSite) -> list[int]:
    """By the record on disk."""
    record = json.loads(site.home.pool_record.read_text())
    return [int(number) for number, server in record["servers"].items() if server["attached"]]


async def test_a_detached_server_runs_on_and_nginx_sends_it_nothing_until_it_is_attached_again(site: FakeSite) -> None:
    await site.started(2)
    pids = site.pids()
    assert (await site.ok("detach", targets=["server2"])).done == "Detached"
    assert attached(site) == [1]
    assert not site.nginx_knows(2)
    assert site.nginx_knows(1)
    assert site.pids() == pids
    assert (await site.ok("attach", targets=["2"])).done == "Attached"
    assert attached(site) == [1, 2]
    assert site.nginx_knows(2)
    assert site.pids() == pids
    await site.end()


async def test_detach_returns_only_when_nginxs_old_workers_are_gone(site: FakeSite) -> None:
    await site.started(2)
    site.balancer.finishes = 100.0
    begun = asyncio.get_running_loop().time()
    detach = site.do("detach", targets=["2"])
    await asyncio.sleep(99)
    assert site.nginx_knows(2), "an old worker of nginx"
    assert not detach.ended
    await detach
    assert not site.nginx_knows(2)
    assert 100 <= asyncio.get_running_loop().time() - begun < 101
    assert detach.done == "Detached"
    await site.end()


async def test_meanwhile_others_may_change_things(site: FakeSite) -> None:
    await site.started(3)
    site.balancer.finishes = None
    first = site.do("detach", targets=["3"])
    await soon()
    assert site.supervisor.changes.current == ""
    site.balancer.finishes = 0.0
    await site.ok("deploy", size="+1")
    await site.ok("restart", targets=["1"])
    assert not first.ended
    assert first.notes == []
    site.balancer.finish()
    assert (await first).done == "Detached"
    await site.end()


async def test_a_second_detach_of_the_same_server_waits_for_them_too(site: FakeSite) -> None:
    await site.started(2)
    site.balancer.finishes = None
    first = site.do("detach", targets=["2"])
    await asyncio.sleep(10)
    second = site.do("detach", targets=["2"])
    await asyncio.sleep(10)
    assert "Server 2 is detached already" in second.notes
    assert not second.ended, "it would not be true yet"
    site.balancer.finish()
    assert (await first).done == (await second).done == "Detached"
    assert not site.nginx_knows(2)
    await site.end()


async def test_requests_that_outlast_the_drain_timeout_are_told(site: FakeSite) -> None:
    site.set(drainTimeout=60)
    await site.started(2)
    site.balancer.finishes = None
    begun = asyncio.get_running_loop().time()
    detach = await site.ok("detach", targets=["2"])
    assert asyncio.get_running_loop().time() - begun < 61
    assert detach.notes == ["Requests in nginx outlasted drainTimeout"]
    await site.end()


async def test_the_last_one_is_detached_by_force_alone(site: FakeSite) -> None:
    await site.started(2)
    await site.ok("detach", targets=["1"])
    refused = await site.do("detach", targets=["2"])
    assert refused.error == "Without Server 2 the pool would be empty"
    assert "Nothing was done" in refused.last["hint"]
    assert attached(site) == [2]
    assert site.nginx_knows(2)
    await site.ok("detach", targets=["2"], force=True)
    assert attached(site) == []
    assert not site.nginx_knows(2)
    again = await site.ok("detach", targets=["servers"])
    assert again.notes == ["Server 1 is detached already", "Server 2 is detached already"]
    await site.end()


async def test_the_last_one_that_runs_is_not_detached_though_another_one_is_attached(site: FakeSite) -> None:
    await site.started(2)
    await site.ok("stop", targets=["1"])
    refused = await site.do("detach", targets=["2"])
    assert refused.error == "Without Server 2 the pool would be empty"
    assert attached(site) == [1, 2]
    await site.end()


async def test_without_a_target_nothing_is_done_and_the_targets_are_named(site: FakeSite) -> None:
    await site.started(2)
    for name in ("attach", "detach"):
        refused = await site.do(name, targets=[])
        assert (refused.error, refused.exit) == ("Which servers?", 2)
        assert refused.last["hint"] == "Name them: server1 server2"
        for target in ("storage", "nginx", "server9"):
            assert (await site.do(name, targets=[target])).exit == 2
    assert attached(site) == [1, 2]
    await site.end()


async def test_where_nothing_runs_it_holds_from_the_next_start(site: FakeSite) -> None:
    await site.started(2)
    await site.ok("stop")
    asked = await site.ok("detach", targets=["2"])
    assert asked.done == "Detached; the load balancer is not running, so it holds from its next start"
    await site.ok("start")
    assert site.nginx_knows(1)
    assert not site.nginx_knows(2)
    await site.end()


async def test_where_nginx_takes_it_not_the_record_is_as_it_was(site: FakeSite) -> None:
    await site.started(3)
    await site.ok("detach", targets=["3"])
    site.balancer.rejects = "nginx: [emerg] unknown directive"
    for name, target in (("detach", "2"), ("attach", "3")):
        refused = await site.do(name, targets=[target])
        assert refused.error == "nginx rejects the configuration"
        assert "Nothing was changed" in refused.last["hint"]
        assert attached(site) == [1, 2]
        assert [site.nginx_knows(number) for number in (1, 2, 3)] == [True, True, False]
    site.balancer.rejects = ""
    site.balancer.keeps_its_configuration = "nginx: [emerg] too many open files"
    told = site.home.nginx_pool_conf.read_text()
    refused = await site.do("detach", targets=["2"])
    assert refused.error == "nginx keeps its former configuration"
    assert attached(site) == [1, 2]
    assert site.home.nginx_pool_conf.read_text() == told, "whoever starts nginx now has it as the record has"
    site.balancer.keeps_its_configuration = ""
    await site.ok("detach", targets=["2"])
    assert not site.nginx_knows(2)
    await site.end()


@pytest.mark.parametrize(("name", "before"), [("detach", [1, 2]), ("attach", [1])])
async def test_where_nginx_cannot_be_told_for_want_of_disk_the_record_says_what_is(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch, name: str, before: list[int]
) -> None:
    await site.started(2)
    if before == [1]:
        await site.ok("detach", targets=["2"])

    async def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(site.supervisor.published, "put_pool", full)
        assert "No space left" in (await site.do(name, targets=["2"])).error
    assert attached(site) == before
    assert list(site.supervisor.pool.attached) == before
    assert site.nginx_knows(2) == (2 in before)
    await site.end()


async def test_where_nginx_cannot_be_reloaded_for_want_of_disk_its_file_is_as_it_was(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.started(2)
    text = site.home.nginx_pool_conf.read_text()

    async def full() -> bool:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(site.balancer, "reload", full)
        assert "No space left" in (await site.do("detach", targets=["2"])).error
    assert attached(site) == [1, 2]
    assert site.home.nginx_pool_conf.read_text() == text, "whoever starts nginx now has it as the record has"
    await site.end()


@pytest.mark.parametrize("removed", [["nginx_conf"], ["nginx_conf", "nginx_pool_conf"]])
async def test_nginx_is_told_though_somebody_has_removed_its_files(site: FakeSite, removed: list[str]) -> None:
    await site.started(2)
    for each in removed:
        getattr(site.home, each).unlink()
    assert (await site.ok("detach", targets=["2"])).done == "Detached"
    assert not site.nginx_knows(2)
    assert site.home.nginx_conf.exists()
    await site.end()
