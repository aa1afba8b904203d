"""deploy: servers come into the pool and leave it, and a deploy that fails leaves nothing of itself."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_machine import ServerProcess
from fake_site import FakeSite
from fakes import soon

from zenwebserver.machine import files
from zenwebserver.supervisor.parts.state import State
from zenwebserver.supervisor.snapshot import snapshot
from zenwebserver.worker.messages import OrderName


def boots_but(*broken: int, after: float = 0.0) -> object:
    """The servers `broken` do not come up."""

    def boots(server: ServerProcess) -> None:
        if int(server.spec.server) in broken:
            server.fails_after(after)
        else:
            server.boots()

    return boots


def full_for(path: Path) -> Callable[..., None]:
    """`files.replace` on a disk that has no room for `path`."""
    replace = files.replace

    def on_a_full_disk(where: Path, *what: Any, **how: Any) -> None:
        if where == path:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(where))
        replace(where, *what, **how)

    return on_a_full_disk


# More.


async def test_new_servers_join_the_newest_release_and_nginx_is_told_of_each(site: FakeSite) -> None:
    await site.started(2)
    reloads = site.balancer.reloads
    asked = await site.ok("deploy", size="+2")
    assert list(asked.steps) == ["Deploying Server 3", "Deploying Server 4"]
    assert asked.done == "4 servers deployed"
    assert site.recorded() == [1, 2, 3, 4]
    assert all(site.nginx_knows(number) for number in (1, 2, 3, 4))
    assert site.balancer.reloads == reloads + 2
    assert site.releases() == ["1"]
    assert len(site.machine.zygotes) == 1
    await site.end()


async def test_exactly_as_many_as_asked_for_changes_nothing(site: FakeSite) -> None:
    await site.started(2)
    pids, reloads = site.pids(), site.balancer.reloads
    assert (await site.ok("deploy", size="2")).events == [{"done": "2 servers deployed", "exit": 0}]
    assert (site.pids(), site.balancer.reloads) == (pids, reloads)
    await site.end()


async def test_more_than_max_servers_need_consent(site: FakeSite) -> None:
    site.set(maxServers=2)
    await site.started(2)
    asked = await site.do("deploy", size="3")
    assert asked.error == "3 servers are more than maxServers (2)"
    assert asked.last["ask"]
    assert site.recorded() == [1, 2]
    await site.ok("deploy", size="3", above_maximum=True)
    assert site.recorded() == [1, 2, 3]
    await site.end()


async def test_configurations_of_a_deploy_that_was_interrupted_are_forgotten(site: FakeSite) -> None:
    await site.started(1)
    site.conf(7).write_text("")
    site.home.client_home("7").mkdir()
    site.conf("mine").write_text("")
    await site.ok("deploy", size="2")
    assert not site.conf(7).exists()
    assert not site.home.client_home("7").exists()
    assert site.conf("mine").exists()
    await site.end()


# More, and it fails.


async def test_a_server_that_does_not_come_up_vanishes_and_those_that_came_up_stay(site: FakeSite) -> None:
    await site.started(2)
    site.machine.boots = boots_but(4)
    asked = await site.do("deploy", size="+3")
    assert asked.error.startswith("Server 4 did not come up: ended with exit code 1: ValueError: broken")
    assert "Traceback" in asked.last["detail"]
    hint = "Server 3 came up and stays; otherwise the pool is as it was."
    assert asked.last["hint"] == f"{hint} Its log: {site.home.server_log('4')}"
    assert asked.steps == {"Deploying Server 3": True, "Deploying Server 4": False}
    assert site.recorded() == [1, 2, 3]
    assert list(site.supervisor.servers) == [1, 2, 3]
    assert site.nginx_knows(3)
    assert not site.conf(4).exists()
    assert not site.home.client_home("4").exists()
    assert not site.process(4).running
    await site.end()


async def test_a_release_that_cannot_be_loaded_leaves_no_new_server(site: FakeSite) -> None:
    site.machine.loads = lambda zygote: zygote.fails("Traceback\nImportError: no such module")
    asked = await site.do("deploy", size="3")
    assert asked.error == "the site could not be loaded: it ended with exit code 1: ImportError: no such module"
    assert site.recorded() == []
    assert site.supervisor.servers == {}
    assert site.releases() == []
    assert site.machine.running == []
    assert site.idle, "the supervisor may end"
    await site.end()


async def test_a_storage_that_does_not_start_leaves_no_new_server(site: FakeSite) -> None:
    site.machine.storage_works = False
    asked = await site.do("deploy", size="3")
    assert asked.error.startswith("Storage did not start")
    assert site.recorded() == []
    assert site.supervisor.servers == {}
    await site.end()


async def test_of_a_first_deploy_the_servers_that_come_up_keep_their_storage(site: FakeSite) -> None:
    site.machine.boots = boots_but(2)
    asked = await site.do("deploy", size="2")
    assert asked.exit == 1
    assert site.recorded() == [1]
    assert site.process(1).accepts
    assert site.supervisor.storage.serves
    await site.end()


@pytest.mark.parametrize("when", ["before the release", "before the server"])
async def test_what_the_machine_lacks_leaves_no_new_server_either(site: FakeSite, when: str) -> None:
    await site.started(2)
    if when == "before the server":
        site.home.client_home("3").write_text("a file where a folder is to be")
    else:
        for process in (*site.machine.zygotes, *site.machine.servers):
            process.die()
        site.machine.lacks = OSError(11, "Resource temporarily unavailable")
        await soon()
    asked = await site.do("deploy", size="+1")
    assert asked.exit == 1
    assert site.recorded() == [1, 2]
    assert list(site.supervisor.servers) == [1, 2]
    site.machine.lacks = None
    await site.end()


async def test_where_nginx_cannot_be_told_the_new_server_vanishes_and_that_is_said(site: FakeSite) -> None:
    await site.started(2)
    site.balancer.rejects = "nginx: [emerg] unknown directive"
    asked = await site.do("deploy", size="+1")
    assert asked.error == "Server 3 could not be put into the pool: nginx rejects the configuration"
    assert asked.last["hint"] == "The pool is as it was."
    assert asked.last["detail"] == "nginx: [emerg] unknown directive"
    await soon()
    assert site.recorded() == [1, 2]
    assert not site.process(3).running
    assert list(site.supervisor.servers) == [1, 2]
    assert not site.nginx_knows(3)
    site.balancer.rejects = ""
    await site.end()


async def test_a_server_that_is_coming_back_is_not_forgotten_and_goes_on_coming_back(site: FakeSite) -> None:
    await site.started(3)
    site.machine.boots = boots_but(3, 4, after=1.0)
    site.process(3).die()
    await asyncio.sleep(3)
    assert site.server(3).comes_back
    asked = await site.do("deploy", size="+1")
    assert asked.exit == 1
    assert "Server 3 did not come up" in asked.error
    assert site.recorded() == [1, 2, 3]
    assert list(site.supervisor.servers) == [1, 2, 3]
    assert site.server(3).comes_back
    site.machine.boots = boots_but()
    await asyncio.sleep(20)
    assert site.server(3).serves
    assert site.nginx_knows(3)
    await site.end()


async def test_a_new_server_that_died_and_comes_back_while_another_fails_is_kept(site: FakeSite) -> None:
    await site.started(2)

    def boots(server: ServerProcess) -> None:
        if server.spec.server == "4":
            asyncio.get_running_loop().call_later(1.0, site.process(3).die)
            server.fails_after(2.0)
        else:
            server.boots(0.0 if len(site.processes(3)) < 2 else 10.0)

    site.machine.boots = boots
    asked = await site.do("deploy", size="+2")
    assert asked.exit == 1
    assert site.server(3).comes_back
    assert site.recorded() == [1, 2, 3]
    await asyncio.sleep(20)
    assert site.server(3).serves
    assert site.nginx_knows(3)
    await site.end()


# Fewer.


async def test_fewer_is_done_when_nginx_no_longer_sends_and_leaving_goes_on_by_itself(site: FakeSite) -> None:
    await site.started(3)
    site.balancer.finishes = 50.0
    process = site.process(3)
    process.call.leave_seconds = 100.0
    site.home.client_home("3").joinpath("Z4.pid").touch()  # of its process, which removes it at its end
    process.exited.add_done_callback(lambda _: site.home.client_home("3").joinpath("Z4.pid").unlink())
    begun = asyncio.get_running_loop().time()
    removal = site.do("deploy", size="-1")
    await asyncio.sleep(49)
    assert OrderName.LEAVE not in process.orders
    assert not removal.ended
    await removal
    assert 50 <= asyncio.get_running_loop().time() - begun < 60
    assert not site.nginx_knows(3)
    assert removal.steps == {"Taking them out of the pool": True, "Removing Server 3": True}
    assert removal.done == "2 servers deployed"

    assert process.running
    (shown,) = [each for each in snapshot(site.supervisor)["servers"] if each["number"] == 3]
    assert shown["leaving"] == [process.pid]
    assert (shown["deployed"], shown["pid"], shown["state"]) == (False, None, "stopped")
    assert site.recorded() == [1, 2]
    assert not site.conf(3).exists()
    assert (await site.ok("start")).done.startswith("It runs already")
    assert not (await site.ok("deploy", size="2")).steps  # it was removed before
    await asyncio.sleep(110)
    assert not process.running
    assert process.signals == []
    assert list(site.supervisor.servers) == [1, 2]
    assert not site.home.client_home("3").exists()
    await site.end()


async def test_a_client_home_that_holds_something_stays(site: FakeSite) -> None:
    await site.started(2)
    kept = site.home.client_home("2") / "log-of-the-admin"
    kept.touch()
    await site.ok("deploy", size="-1")
    await soon()
    assert kept.exists()
    assert not site.conf(2).exists()
    await site.end()


async def test_the_supervisor_is_not_idle_until_what_was_removed_has_left(site: FakeSite) -> None:
    await site.started(2)
    site.process(2).call.leave_seconds = 100.0
    await site.ok("deploy", size="-1")
    for part in (site.balancer, site.server(1), site.supervisor.storage):
        await part.stop()
    await site.supervisor.retire_releases()
    await asyncio.sleep(50)
    assert not site.supervisor.idle
    site.idle = 0
    await asyncio.sleep(60)
    assert site.supervisor.idle
    assert site.idle, "it was told"
    await site.end()


async def test_others_may_change_things_while_nginx_still_finishes(site: FakeSite) -> None:
    await site.started(3)
    site.balancer.finishes = 50.0
    removal = site.do("deploy", size="-1")
    await soon()
    assert (await site.ok("detach", targets=["2"])).notes == []
    assert (await removal).exit == 0
    await site.end()


async def test_one_more_while_nginx_still_finishes_keeps_that_very_process(site: FakeSite) -> None:
    await site.started(3)
    site.balancer.finishes = None
    pids = site.pids()
    removal = site.do("deploy", size="-1")
    await asyncio.sleep(10)
    assert not site.server(3).wanted
    more = site.do("deploy", size="+1")
    await asyncio.sleep(10)
    assert more.exit == 0
    site.balancer.finish()
    assert (await removal).exit == 0
    await soon()
    assert site.pids() == pids
    assert site.process(3).accepts
    assert site.nginx_knows(3)
    assert site.recorded() == [1, 2, 3]
    assert site.conf(3).exists()
    assert "Removing Server 3" not in removal.steps
    await site.end()


async def test_one_more_while_the_removed_one_leaves_is_a_new_process_and_both_go_their_ways(site: FakeSite) -> None:
    await site.started(3)
    former = site.process(3)
    former.call.leave_seconds = 100.0
    await site.ok("deploy", size="-1")
    await site.ok("deploy", size="+1")
    assert former.running
    assert site.process(3) is not former
    assert site.process(3).accepts
    await asyncio.sleep(110)
    assert not former.running
    assert site.process(3).accepts
    assert site.conf(3).exists(), "the new one's, though the former one has left"
    assert list(site.supervisor.servers) == [1, 2, 3]
    await site.end()


async def test_the_highest_go_first_and_never_all(site: FakeSite) -> None:
    await site.started(4)
    asked = await site.ok("deploy", size="-9")
    assert list(asked.steps) == [
        "Taking them out of the pool",
        "Removing Server 4",
        "Removing Server 3",
        "Removing Server 2",
    ]
    assert site.recorded() == [1]
    await soon()
    assert list(site.pids()) == [1]
    await site.end()


async def test_detached_ones_go_first_so_the_last_attached_one_stays(site: FakeSite) -> None:
    await site.started(4)
    await site.ok("detach", targets=["1", "3"])
    assert "Removing Server 3" in (await site.ok("deploy", size="-1")).steps
    assert "Removing Server 1" in (await site.ok("deploy", size="-1")).steps
    assert "Removing Server 4" in (await site.ok("deploy", size="1")).steps
    assert site.recorded() == [2]
    assert site.nginx_knows(2)
    await site.end()


async def test_the_pool_is_not_emptied_and_that_is_said_as_detach_says_it(site: FakeSite) -> None:
    """The one that is to stay has run, and is given up before the other one goes."""
    await site.started(2)

    def only_once(server: ServerProcess) -> None:
        server.boots() if len(site.processes(1)) < 3 else server.fails_after(0.1)

    await site.ok("stop", targets=["1"])
    site.machine.boots = only_once
    start = site.supervisor.start_server

    async def start_and_give_up(*what: object) -> None:
        await start(*what)  # type: ignore[arg-type]
        site.process(1).die()
        await asyncio.sleep(120)
        assert site.server(1).state is State.FAILED

    site.supervisor.start_server = start_and_give_up  # type: ignore[method-assign]
    refused = await site.do("deploy", size="1")
    assert refused.error == "Without Server 2 the pool would be empty"
    assert refused.last["hint"] == "The pool is as it was. No server was removed."
    assert site.recorded() == [1, 2]
    assert site.server(2).serves
    assert site.nginx_knows(2)
    await site.end()


@pytest.mark.parametrize("refusal", ["rejects", "keeps_its_configuration", "full disk"])
async def test_fewer_that_nginx_cannot_be_told_of_are_not_fewer(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch, refusal: str
) -> None:
    await site.started(3)
    await site.ok("detach", targets=["3"])
    await site.ok("stop", targets=["1"])
    before = site.home.pool_record.read_text()
    await site.ok("start", targets=["1"])

    async def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if refusal == "full disk":
            patch.setattr(site.supervisor.publisher, "put_pool", full)
        else:
            patch.setattr(site.balancer, refusal, "nginx: [emerg] unknown directive")
        asked = await site.do("deploy", size="1")
    assert "nginx" in asked.error
    assert asked.last["hint"] == "The pool is as it was."
    assert site.home.pool_record.read_text() == before
    assert [site.nginx_knows(number) for number in (1, 2, 3)] == [True, True, False]
    assert all(site.server(number).serves for number in (1, 2, 3))
    assert [each["attached"] for each in snapshot(site.supervisor)["servers"]] == [True, True, False]
    await site.ok("deploy", size="1")
    assert [site.nginx_knows(number) for number in (1, 2, 3)] == [True, False, False]
    await site.end()


async def test_a_record_for_which_the_disk_has_no_room_changes_nothing(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.started(2)
    with monkeypatch.context() as patch:
        patch.setattr(files, "replace", full_for(site.home.pool_record))
        for size in ("3", "1"):
            asked = await site.do("deploy", size=size)
            assert asked.error == f"deploy failed: {site.home.pool_record}: No space left on device"
    assert site.recorded() == [1, 2]
    assert list(site.pids()) == [1, 2]
    await site.end()


@pytest.mark.parametrize("kept", [True, False])
async def test_a_record_that_cannot_be_written_back_is_put_back_or_said(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    """The file that was before is moved back, which needs no room; where that is gone, it is said what stands."""
    await site.started(2)
    site.balancer.rejects = "nginx: [emerg] unknown directive"
    publish = site.supervisor.publish

    async def publish_on_a_full_disk(**what: Any) -> Any:
        patch.setattr(files, "replace", full_for(site.home.pool_record))
        if not kept:
            files.previous(site.home.pool_record).unlink()
        return await publish(**what)

    with monkeypatch.context() as patch:
        patch.setattr(site.supervisor, "publish", publish_on_a_full_disk)
        asked = await site.do("deploy", size="1")
    if kept:
        assert asked.error == "nginx rejects the configuration"
        assert asked.last["hint"] == "The pool is as it was."
        assert site.recorded() == list(site.supervisor.pool.numbers) == [1, 2]
    else:
        assert asked.error == (
            "nginx rejects the configuration; and the pool's record could not be put back: "
            f"{site.home.pool_record}: No space left on device"
        )
        assert asked.last["hint"].startswith("It asks for the servers 1. ")
        assert site.recorded() == list(site.supervisor.pool.numbers) == [1]
    assert site.server(2).serves
    site.balancer.rejects = ""
    await site.ok("deploy", size="2")
    assert site.recorded() == [1, 2]
    await site.end()


async def test_a_server_that_was_given_up_is_removed_too(site: FakeSite) -> None:
    await site.started(2)
    site.machine.boots = boots_but(2)
    site.process(2).die()
    await asyncio.sleep(100)
    assert site.server(2).state is State.FAILED
    assert not site.nginx_knows(2), "given up, it was taken out of the pool"
    asked = await site.ok("deploy", size="1")
    assert asked.notes == []
    assert list(site.supervisor.servers) == [1]
    assert not site.conf(2).exists()
    await site.end()


async def test_what_a_supervisor_before_left_surplus_goes_with_the_next_deploy(site: FakeSite) -> None:
    await site.started(3)
    site.home.pool_record.write_text(json.dumps({"servers": {"1": {"attached": True}, "2": {"attached": True}}}))
    asked = await site.ok("deploy", size="2")
    assert "Removing Server 3" in asked.steps
    await soon()
    assert list(site.pids()) == [1, 2]
    assert not site.nginx_knows(3)
    await site.end()


async def test_one_that_nginx_cannot_be_told_of_for_want_of_disk_is_not_deployed(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.started(1)

    async def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(site.supervisor.publisher, "put_pool", full)
        error = (await site.do("deploy", size="2")).error
    assert error.startswith("Server 2 could not be put into the pool: nginx could not be told of the pool: No space")
    assert site.recorded() == [1]
    assert list(site.pids()) == [1]
    assert not site.process(2).running
    await site.end()


async def test_servers_that_did_not_run_are_told_too_when_they_are_removed(site: FakeSite) -> None:
    await site.started(3)
    await site.ok("stop")
    asked = await site.ok("deploy", size="1")
    assert {"Removing Server 2", "Removing Server 3"} <= set(asked.steps)
    assert site.recorded() == [1]
    await site.end()
