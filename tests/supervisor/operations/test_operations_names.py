"""Where nginx asks for its servers, a change of the pool reloads nothing, and needs no configuration that is right."""

from __future__ import annotations

import asyncio
import errno
import json
import os

import pytest
from fake_nginx import NAME_PORT
from fake_site import FakeSite

from zenwebserver.supervisor.adoption import adopt
from zenwebserver.supervisor.line.worker import IDLE_SECONDS

RESOLVER = f"resolver 127.0.0.1:{NAME_PORT} "


@pytest.fixture
def asked(site: FakeSite) -> FakeSite:
    """A site whose nginx asks, once it has read its configuration."""
    site.home.nginx_template.write_text("# An admin's own, which knows the upstream zope_at_start.\n")
    site.balancer.names.usable = True
    return site


def now() -> float:
    return asyncio.get_running_loop().time()


def attached(site: FakeSite) -> list[int]:
    record = json.loads(site.home.pool_record.read_text())
    return [int(number) for number, server in record["servers"].items() if server["attached"]]


async def test_deploy_detach_and_attach_reload_nothing_and_end_when_nginx_has_it(asked: FakeSite) -> None:
    await asked.started(2)
    assert RESOLVER in asked.home.nginx_pool_conf.read_text()
    asked.process(2).works_on = [""]
    await asked.ok("detach", targets=["2"])
    assert [asked.nginx_knows(number) for number in (1, 2)] == [True, False]
    assert f"# detached: server 127.0.0.1:{asked.base + 2}" in asked.home.nginx_pool_conf.read_text()
    await asked.ok("attach", targets=["2"])
    assert asked.nginx_knows(2)
    await asked.ok("deploy", size="+1")
    assert asked.nginx_knows(3)
    await asked.ok("restart", targets=["servers"])
    await asked.ok("deploy", size="2")
    assert not asked.nginx_knows(3)
    assert asked.balancer.reloads == 0
    await asked.end()


async def test_a_broken_nginx_conf_keeps_nobody_from_changing_the_pool(asked: FakeSite) -> None:
    await asked.started(2)
    asked.balancer.rejects = "unknown directive"
    asked.process(1).works_on = [""]
    await asked.ok("detach", targets=["1"])
    await asked.ok("deploy", size="+1")
    assert [asked.nginx_knows(number) for number in (1, 2, 3)] == [False, True, True]
    await asked.end()


async def test_where_nginx_does_not_ask_the_record_the_file_and_what_it_is_answered_are_as_before(
    asked: FakeSite,
) -> None:
    await asked.started(2)
    text, told = asked.home.nginx_pool_conf.read_text(), asked.balancer.names.told
    asked.balancer.names.hears = False
    detach = await asked.do("detach", targets=["2"])
    assert detach.error == "nginx did not ask for its servers within 10 s"
    assert attached(asked) == [1, 2]
    assert asked.home.nginx_pool_conf.read_text() == text
    assert asked.balancer.names.told == told
    assert asked.nginx_knows(2)
    await asked.end()


async def test_where_nginx_cannot_be_watched_all_is_as_before_too(
    asked: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a free descriptor nobody sees what it has asked for."""
    await asked.started(2)
    text, told = asked.home.nginx_pool_conf.read_text(), asked.balancer.names.told

    async def blind() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(asked.balancer.names, "taken_up", blind)
    detach = await asked.do("detach", targets=["2"])
    assert detach.error == "nginx could not be told of the pool: Too many open files"
    assert attached(asked) == [1, 2]
    assert asked.home.nginx_pool_conf.read_text() == text
    assert asked.balancer.names.told == told
    await asked.end()


async def test_a_master_that_somebody_else_has_exchanged_is_known_before_nginx_is_told(
    asked: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asked.started(2)
    answered = asked.balancer.names.told
    seen: list[object] = []

    async def settle() -> None:
        seen.append(asked.balancer.names.told)

    monkeypatch.setattr(asked.balancer, "settle", settle)
    await asked.ok("deploy", size="3")
    assert seen[0] == answered
    await asked.end()


async def test_detached_is_said_when_what_nginx_had_sent_is_answered(asked: FakeSite) -> None:
    await asked.started(2)
    asked.process(2).works_on = ["POST /upload", ""]
    begun = now()
    detach = asked.do("detach", targets=["2"])
    await asyncio.sleep(50)
    assert not asked.nginx_knows(2)
    assert not detach.ended
    assert asked.supervisor.changes.current == "", "others may change things meanwhile"
    asked.process(2).works_on = ["", ""]
    await detach
    assert 50 <= now() - begun < 53
    assert (detach.done, detach.notes) == ("Detached", [])
    await asked.end()


async def test_what_was_on_its_way_to_a_thread_when_it_was_looked_first_is_waited_for_too(asked: FakeSite) -> None:
    await asked.started(2)
    process = asked.process(2)
    process.works_on = [""]
    detach = asked.do("detach", targets=["2"])
    await asyncio.sleep(1.0 + 1.5 * IDLE_SECONDS)  # nginx has taken it up after a second, and a look was had
    process.works_on = ["POST /upload"]
    await asyncio.sleep(5)
    assert not detach.ended
    process.works_on = [""]
    assert (await detach).done == "Detached"
    await asked.end()


async def test_what_is_not_answered_within_drain_timeout_is_told(asked: FakeSite) -> None:
    asked.set(drainTimeout=30)
    await asked.started(2)
    asked.process(2).works_on = ["GET /slow"]
    detach = await asked.ok("detach", targets=["2"])
    assert detach.notes == ["Requests in nginx outlasted drainTimeout"]
    await asked.end()


async def test_a_server_that_dies_with_its_requests_has_no_more_to_answer(asked: FakeSite) -> None:
    await asked.started(2)
    asked.process(2).works_on = ["GET /slow"]
    detach = asked.do("detach", targets=["2"])
    await asyncio.sleep(5)
    asked.process(2).die("was killed by SIGKILL")
    assert (await detach).notes == []
    await asyncio.sleep(5)  # it comes back
    await asked.end()


async def test_workers_left_by_a_reload_still_have_the_list_of_before_and_are_waited_for(asked: FakeSite) -> None:
    await asked.started(2)
    asked.process(2).works_on = [""]
    asked.balancer.finishes = 100.0
    await asked.ok("reload")
    begun = now()
    await asked.ok("detach", targets=["2"])
    assert 99 < now() - begun < 101
    assert not asked.nginx_knows(2)
    await asked.end()


async def test_a_new_supervisor_answers_at_once_and_its_first_change_reloads_nothing(asked: FakeSite) -> None:
    await asked.started(2)
    asked.process(2).works_on = [""]
    left = asked.balancer.process
    await asked.supervisor_dies()
    asked.balancer.names.usable = True
    await adopt(asked.supervisor)
    assert asked.balancer.process is left
    assert {server.number for server in asked.balancer.names.told or ()} == {1, 2}
    await asked.ok("detach", targets=["2"])
    assert asked.balancer.reloads == 0
    assert not asked.nginx_knows(2)
    await asked.end()


async def test_an_nginx_that_cannot_keep_the_port_is_reloaded_and_one_that_can_asks_from_the_next_change_on(
    asked: FakeSite,
) -> None:
    asked.balancer.names.usable = False  # one that was started by a version before, or by hand
    await asked.started(2)
    await asked.ok("detach", targets=["2"])
    assert RESOLVER not in asked.home.nginx_pool_conf.read_text()
    assert asked.balancer.reloads == 1
    await asked.ok("stop", targets=["loadbalancer"])
    asked.balancer.names.usable = True
    await asked.ok("start")
    assert RESOLVER in asked.home.nginx_pool_conf.read_text()
    reloads = asked.balancer.reloads
    await asked.ok("attach", targets=["2"])
    assert asked.balancer.reloads == reloads
    await asked.end()


async def test_a_template_that_cannot_bridge_the_first_moment_is_served_by_reloads(site: FakeSite) -> None:
    site.balancer.names.usable = True
    site.home.nginx_template.write_text("include {{ pool_conf | quoted }};\n")
    await site.started(2)
    await site.ok("detach", targets=["2"])
    assert RESOLVER not in site.home.nginx_pool_conf.read_text()
    assert site.balancer.reloads == 1
    site.home.nginx_template.write_text("# It knows zope_at_start now.\n")
    await site.ok("configure")
    await site.ok("reload")
    reloads = site.balancer.reloads
    site.process(2).works_on = [""]
    await site.ok("attach", targets=["2"])
    await site.ok("detach", targets=["2"])
    assert site.balancer.reloads == reloads
    await site.end()


async def test_a_pool_without_a_server_is_told_to_nginx_too(asked: FakeSite) -> None:
    await asked.started(2)
    await asked.ok("detach", targets=["1", "2"], force=True)
    assert asked.balancer.names.told == ()
    assert not any(asked.nginx_knows(number) for number in (1, 2))
    await asked.ok("stop", targets=["servers"])
    await asked.ok("start")
    await asked.ok("attach", targets=["servers"])
    assert all(asked.nginx_knows(number) for number in (1, 2))
    assert asked.balancer.reloads == 0
    await asked.end()
