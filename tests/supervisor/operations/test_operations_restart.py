"""restart: all servers get the new code or none does, and what is said of it is true."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from fake_machine import ServerProcess
from fake_site import FakeSite
from fakes import soon

from zenwebserver.supervisor.operations.restart import DidNotComeBack, Exchanges
from zenwebserver.supervisor.parts.state import State
from zenwebserver.supervisor.report import Report
from zenwebserver.worker.messages import OrderName

Boots = Callable[[ServerProcess], None]


def fails(*numbers: int, after: float = 0.0, seconds: float = 0.0, release: str = "2") -> Boots:
    """Servers `numbers` do not come up in `release`."""

    def boots(server: ServerProcess) -> None:
        if int(server.spec.server) in numbers and server.spec.release == release:
            server.fails_after(after)
        else:
            server.boots(seconds)

    return boots


def releases(site: FakeSite) -> dict[int, str]:
    """The release of each server that has a process."""
    return {number: server.release.name for number, server in site.supervisor.servers.items() if server.release}


def change_site(site: FakeSite) -> None:
    conf = site.home.zope_conf
    conf.write_text(conf.read_text().replace("trusted-proxy 127.0.0.1", "trusted-proxy 127.0.0.2"))


# What works.


async def test_everything_is_exchanged_nginx_first_and_one_server_before_the_others(site: FakeSite) -> None:
    await site.started(4)
    site.set(restartParallel=2)
    former = [site.process(number) for number in (1, 2, 3, 4)]
    change_site(site)
    site.machine.boots = lambda server: server.boots(10.0)
    restart = site.do("restart")
    seen = []
    for _ in range(3):
        await asyncio.sleep(10.5)
        seen.append(len(site.machine.servers) - 4)
        assert all(site.server(number).serves for number in (1, 2, 3, 4))
    await restart
    assert seen == [3, 4, 4]
    assert restart.done == "Restarted"
    assert list(restart.steps)[:2] == ["Restarting Load balancer", "Loading the site"]
    assert site.balancer.upgrades == 1
    assert releases(site) == dict.fromkeys((1, 2, 3, 4), "2")
    assert site.releases() == ["2"]
    await soon()
    assert not any(process.running for process in former)
    assert not site.machine.zygotes[0].running
    assert all("trusted-proxy 127.0.0.2" in site.conf(number).read_text() for number in (1, 2, 3, 4))
    assert "trusted-proxy 127.0.0.2" in site.machine.zygotes[1].conf
    await site.end()


async def test_a_server_alone_gets_a_release_of_its_own_and_the_others_keep_theirs(site: FakeSite) -> None:
    await site.started(3)
    await site.ok("restart", targets=["1"])
    assert releases(site) == {1: "2", 2: "1", 3: "1"}
    assert site.releases() == ["1", "2"]
    await site.ok("restart", targets=["1"])
    assert releases(site) == {1: "3", 2: "1", 3: "1"}
    assert site.releases() == ["1", "3"], "the second one has ended with its last server"
    assert [zygote.running for zygote in site.machine.zygotes] == [True, False, True]
    site.process(2).die()
    await asyncio.sleep(5)
    assert site.process(2).spec.release == "1", "what dies comes back in its own release"
    await site.ok("restart")
    assert releases(site) == dict.fromkeys((1, 2, 3), "4")
    assert site.releases() == ["4"]
    await site.end()


async def test_what_does_not_run_is_started(site: FakeSite) -> None:
    await site.started(3)
    await site.ok("stop", targets=["2", "nginx"])
    asked = await site.ok("restart")
    assert asked.steps["Restarting Server 2"]
    assert asked.steps["Starting Load balancer"]
    assert releases(site) == dict.fromkeys((1, 2, 3), "2")
    assert all(site.nginx_knows(number) for number in (1, 2, 3))
    await site.end()


async def test_where_nothing_runs_everything_is_started(site: FakeSite) -> None:
    asked = await site.ok("restart")
    assert list(asked.steps) == [
        "Starting Storage",
        "Loading the site",
        "Starting Server 1",
        "Starting Server 2",
        "Starting Load balancer",
    ]
    await site.end()


async def test_a_site_that_only_dies_gets_the_new_code(site: FakeSite) -> None:
    await site.started(2)
    site.machine.boots = fails(1, 2, release="1", after=1.0)
    for number in (1, 2):
        site.process(number).die()
    await asyncio.sleep(4)
    assert all(site.server(number).comes_back for number in (1, 2))
    await site.ok("restart")
    assert releases(site) == dict.fromkeys((1, 2), "2")
    assert site.releases() == ["2"]
    await site.end()


async def test_one_that_comes_back_in_the_old_code_while_the_new_one_loads_is_exchanged_too(site: FakeSite) -> None:
    await site.started(2)
    for zygote in site.machine.zygotes:
        zygote.die()
    site.machine.loads = lambda zygote: zygote.loads(5.0 if len(site.machine.zygotes) == 2 else 20.0)
    for number in (1, 2):
        site.process(number).die()
    await asyncio.sleep(1)
    assert (await site.ok("restart")).exit == 0
    assert releases(site) == dict.fromkeys((1, 2), "2")
    await site.end()


async def test_one_that_comes_back_in_the_old_code_while_others_start_is_exchanged_too(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    await site.started(3)
    site.machine.boots = lambda server: server.boots(15.0 if server.spec.release == "1" else 10.0)
    for number in (1, 2, 3):
        site.process(number).die()
    await asyncio.sleep(1)
    asked = await site.ok("restart")
    assert asked.steps["Restarting Server 3"], "started in the second 21, it was back in the second 15"
    assert releases(site) == dict.fromkeys((1, 2, 3), "2")
    assert site.releases() == ["2"]
    await site.end()


async def test_one_that_was_about_to_stop_gets_the_new_code(site: FakeSite) -> None:
    await site.started(2)
    site.balancer.finishes = None
    stop = site.do("stop", targets=["2"])
    await asyncio.sleep(10)
    site.balancer.finishes = 0.0
    await site.ok("restart")
    assert releases(site) == dict.fromkeys((1, 2), "2")
    site.balancer.finish()
    assert (await stop).notes == ["Server 2 was started again meanwhile"]
    assert site.process(2).accepts
    await site.end()


async def test_storage_alone_is_restarted_under_running_servers(site: FakeSite) -> None:
    await site.started(2)
    pids, storage = site.pids(), site.supervisor.storage.pid
    asked = await site.ok("restart", targets=["storage"])
    assert asked.steps == {"Restarting Storage": True}
    assert site.supervisor.storage.pid not in (None, storage)
    assert site.pids() == pids
    await site.end()


# The way back.


@pytest.mark.parametrize("broken", [1, 3])
async def test_one_that_fails_brings_all_others_back_with_their_configurations(site: FakeSite, broken: int) -> None:
    await site.started(4)
    pids, conf = site.pids(), {number: site.conf(number).read_text() for number in (1, 2, 3, 4)}
    change_site(site)
    site.machine.boots = fails(broken)
    asked = await site.do("restart")
    assert asked.error == (
        f"Server {broken} did not come back: ended with exit code 1: ValueError: broken "
        "(the former one goes on serving; no server was restarted)"
    )
    assert "Traceback" in asked.last["detail"]
    assert asked.last["hint"] == f"Its log: {site.home.server_log(str(broken))}"
    assert asked.steps[f"Restarting Server {broken}"] is False
    await soon()
    assert site.pids() == pids
    assert {number: site.conf(number).read_text() for number in (1, 2, 3, 4)} == conf
    assert releases(site) == dict.fromkeys((1, 2, 3, 4), "1")
    assert site.releases() == ["1"], "the configuration of the release that failed is gone"
    assert [zygote.running for zygote in site.machine.zygotes] == [True, False]
    assert all(site.process_with(pid).accepts for pid in pids.values() if pid)
    assert {process.pid for process in site.machine.servers if process.running} == set(pids.values())
    await site.end()


async def test_a_release_that_cannot_be_loaded_changes_nothing(site: FakeSite) -> None:
    await site.started(2)
    pids = site.pids()
    site.machine.loads = lambda zygote: zygote.fails("Traceback\nImportError: no such module")
    asked = await site.do("restart")
    assert asked.error == (
        "the site could not be loaded: it ended with exit code 1: ImportError: no such module; "
        "what ran before goes on serving"
    )
    assert (site.pids(), site.releases()) == (pids, ["1"])
    await site.end()


async def test_a_release_that_cannot_be_loaded_where_nothing_serves_does_not_say_that_something_does(
    site: FakeSite,
) -> None:
    await site.started(1)
    site.machine.boots = fails(1, release="1", after=1.0)
    site.process(1).die()
    await asyncio.sleep(4)
    site.machine.loads = lambda zygote: zygote.fails("ImportError: no such module")
    asked = await site.do("restart")
    assert "goes on serving" not in asked.error
    assert site.server(1).comes_back
    site.machine.boots = fails()
    await asyncio.sleep(10)
    assert releases(site) == {1: "1"}
    assert site.server(1).serves
    await site.end()


async def test_an_undo_that_fails_hides_neither_the_cause_nor_keeps_the_others_from_going_back(site: FakeSite) -> None:
    await site.started(4)
    pids = site.pids()

    def boots(server: ServerProcess) -> None:
        if server.spec.server == "3" and server.spec.release == "2":
            site.process_with(pids[1]).die()  # it rests; and cannot be had again, for its release is broken by now
            site.process_with(pids[2]).call.hung_up = True
            server.fails_after(1.0)
        elif server.spec.server == "1" and server.spec.release == "1":
            server.fails("Traceback\nMemoryError: no room")
        else:
            server.boots(10.0 if server.spec.release == "1" else 0.0)

    site.machine.boots = boots
    asked = await site.do("restart")
    assert asked.error == (
        "Server 3 did not come back: ended with exit code 1: ValueError: broken "
        "(the former one goes on serving; not all is as it was)"
    )
    assert asked.steps["Going back to the former release"] is False
    (note,) = [note for note in asked.notes if "could not go back" in note]
    assert note == (
        "Server 1 could not go back to its former process: ended with exit code 1: MemoryError: no room "
        "(it goes on in release 2)"
    )
    assert releases(site) == {1: "2", 2: "1", 3: "1", 4: "1"}
    assert site.releases() == ["1", "2"], "each server's is kept"
    assert all(site.server(number).state is State.RUNNING for number in (1, 2, 3, 4)), "none is still under way"
    assert [site.pids()[number] for number in (3, 4)] == [pids[3], pids[4]]
    await site.end()


async def test_one_whose_configuration_cannot_be_put_back_goes_back_all_the_same(site: FakeSite) -> None:
    await site.started(3)
    pids = site.pids()

    def boots(server: ServerProcess) -> None:
        if server.spec.server == "3":
            site.conf(1).unlink()
            site.conf(1).mkdir()
            server.fails()
        else:
            server.boots()

    site.machine.boots = boots
    asked = await site.do("restart")
    assert asked.error.startswith("Server 3 did not come back: ended with exit code 1: ValueError: broken")
    assert asked.error.endswith("(the former one goes on serving; not all is as it was)")
    assert any(str(site.conf(1)) in note for note in asked.notes)
    await soon()
    assert site.pids() == pids
    assert all(site.server(number).state is State.RUNNING for number in (1, 2, 3))
    site.conf(1).rmdir()
    await site.end()


async def test_a_configuration_that_cannot_be_written_is_told_and_all_go_back(site: FakeSite) -> None:
    await site.started(3)
    pids = site.pids()
    site.home.client_home("2").rmdir()
    site.home.client_home("2").touch()
    asked = await site.do("restart")
    assert asked.error.startswith(f"Server 2 did not come back: {site.home.client_home('2')}: File exists")
    assert asked.error.endswith("(the former one goes on serving; no server was restarted)")
    await soon()
    assert site.pids() == pids
    await site.end()


async def test_one_that_dies_between_its_exchange_and_the_end_of_the_restart_brings_all_back(site: FakeSite) -> None:
    await site.started(3)
    pids = site.pids()

    def boots(server: ServerProcess) -> None:
        if server.spec.server == "3":
            asyncio.get_running_loop().call_later(5.0, site.process(1).die)
        server.boots(10.0)

    site.machine.boots = boots
    asked = await site.do("restart")
    assert asked.error == (
        "Server 1 died right after its restart (the former one goes on serving; no server was restarted)"
    )
    await soon()
    assert site.pids() == pids
    assert releases(site) == dict.fromkeys((1, 2, 3), "1")
    assert site.releases() == ["1"]
    await site.end()


async def test_one_whose_death_is_noticed_in_the_very_last_moment_is_not_overlooked(site: FakeSite) -> None:
    await site.started(1)
    former = site.process(1)
    exchanges = Exchanges(site.supervisor, Report(lambda _: None), await site.supervisor.new_release())
    async with site.supervisor.changes.make("restart"):
        await exchanges.make(site.server(1))
        exchanges.check()
        site.process(1).die()
        while site.server(1).state is State.EXCHANGED:
            await asyncio.sleep(0)
        with pytest.raises(DidNotComeBack, match="died right after its restart"):
            exchanges.check()
        assert await exchanges.undo()
    assert former.accepts
    await site.supervisor.retire_releases()
    await site.end()


async def test_one_whose_former_process_died_meanwhile_goes_back_by_an_exchange(site: FakeSite) -> None:
    await site.started(3)
    pids = site.pids()

    def boots(server: ServerProcess) -> None:
        if server.spec.server == "1" and server.spec.release == "2":
            site.process_with(pids[1]).die()
        if server.spec.server == "3" and server.spec.release == "2":
            server.fails()
        else:
            server.boots(0.5)

    site.machine.boots = boots
    asked = await site.do("restart")
    assert asked.error.endswith("(the former one goes on serving; no server was restarted)")
    await soon()
    assert releases(site) == dict.fromkeys((1, 2, 3), "1")
    assert site.pids()[1] != pids[1]
    assert site.releases() == ["1"]
    assert site.process(1).accepts
    await site.end()


async def test_one_whose_processes_both_died_meanwhile_comes_back_in_its_former_release(site: FakeSite) -> None:
    await site.started(3)
    pids = site.pids()

    def boots(server: ServerProcess) -> None:
        if server.spec.release == "1":
            server.boots(2.0)
        elif server.spec.server == "1":
            site.process_with(pids[1]).die()
            server.boots(0.5 if len(site.processes(1)) == 2 else 1000.0)
        elif server.spec.server == "3":
            site.process(1).die()
            server.fails_after(1.0)
        else:
            server.boots(0.5)

    site.machine.boots = boots
    asked = await site.do("restart")
    assert asked.error.startswith("Server 3 did not come back")
    assert asked.error.endswith("(the former one goes on serving; no server was restarted)")
    assert releases(site) == dict.fromkeys((1, 2, 3), "1")
    assert site.releases() == ["1"]
    assert site.process(1).accepts
    await site.end()


async def test_one_that_was_coming_back_when_another_fails_serves_in_its_own_release(site: FakeSite) -> None:
    await site.started(3)
    site.machine.boots = fails(3, seconds=5.0)
    site.process(1).die()
    await asyncio.sleep(2)
    assert site.server(1).comes_back
    asked = await site.do("restart")
    assert asked.steps["Restarting Server 1"]
    assert asked.error.endswith("(the former one goes on serving; no server was restarted)")
    assert releases(site) == dict.fromkeys((1, 2, 3), "1")
    assert site.process(1).accepts
    assert site.nginx_knows(1)
    await site.end()


async def test_one_that_was_started_by_a_restart_that_fails_is_stopped_again(site: FakeSite) -> None:
    await site.started(3)
    await site.ok("stop", targets=["1"])
    site.balancer.finishes = 20.0
    site.machine.boots = fails(3)
    asked = await site.do("restart")
    assert asked.error.endswith("(the former one goes on serving; no server was restarted)")
    await soon()
    assert site.server(1).state is State.STOPPED
    assert not site.process(1).running
    assert not site.nginx_knows(1)
    assert releases(site) == dict.fromkeys((2, 3), "1")
    assert site.releases() == ["1"]
    await site.end()


async def test_one_that_was_coming_back_and_fails_goes_on_coming_back_in_its_own_release(site: FakeSite) -> None:
    await site.started(3)
    conf = site.conf(2).read_text()
    change_site(site)
    site.machine.boots = fails(2, after=1.0, release="1")
    site.process(2).die()
    await asyncio.sleep(3)
    assert site.server(2).comes_back
    site.machine.boots = fails(2, after=1.0, seconds=10.0, release="2")
    asked = await site.do("restart")
    assert asked.error == (
        "Server 2 did not come back: ended with exit code 1: ValueError: broken "
        "(it is down, and started again; no server was restarted)"
    )
    await asyncio.sleep(20)
    assert releases(site) == dict.fromkeys((1, 2, 3), "1")
    assert site.releases() == ["1"]
    assert site.conf(2).read_text() == conf
    assert site.server(2).serves
    await site.end()


async def test_a_restart_that_is_cut_off_leaves_the_former_ones_serving(site: FakeSite) -> None:
    await site.started(3)
    pids = site.pids()
    site.machine.boots = lambda server: server.boots(10.0)
    restart = site.do("restart")
    await asyncio.sleep(25)
    assert site.server(1).state is State.EXCHANGED
    restart.task.cancel()
    await asyncio.wait([restart.task])
    assert restart.error == "restart was cut off: the supervisor ends"
    await soon()
    assert site.pids() == pids
    assert all(site.process_with(pid).accepts for pid in pids.values())
    assert site.releases() == ["1"]
    assert OrderName.LEAVE not in site.process_with(pids[1]).orders
    await site.end()


# nginx.


async def test_a_configuration_that_nginx_rejects_stops_the_restart_before_anything_is_done(site: FakeSite) -> None:
    await site.started(2)
    pids = site.pids()
    site.balancer.rejects = "nginx: [emerg] unknown directive"
    asked = await site.do("restart")
    assert asked.error == "nginx rejects the configuration"
    assert site.balancer.upgrades == 0
    assert site.pids() == pids
    assert site.releases() == ["1"]
    site.balancer.rejects = ""
    await site.end()


async def test_servers_alone_leave_nginx_as_it_is(site: FakeSite) -> None:
    await site.started(2)
    reloads = site.balancer.reloads
    await site.ok("restart", targets=["servers"])
    assert (site.balancer.upgrades, site.balancer.reloads) == (0, reloads)
    await site.end()


@pytest.mark.parametrize("exchanged", [True, False])
async def test_an_nginx_that_can_only_be_reloaded_is_not_said_to_be_exchanged(site: FakeSite, exchanged: bool) -> None:
    await site.started(1)
    site.balancer.can_be_exchanged = exchanged
    asked = await site.ok("restart", targets=["nginx"])
    assert any("was reloaded, not exchanged" in note for note in asked.notes) != exchanged
    await site.end()


@pytest.mark.parametrize("servers", [True, False])
async def test_where_nothing_ran_a_restart_that_fails_leaves_nothing(site: FakeSite, servers: bool) -> None:
    if servers:
        site.machine.boots = fails(1, 2, release="1")
    else:
        site.machine.loads = lambda zygote: zygote.fails("Traceback\nImportError: no such module")
    asked = await site.do("restart")
    assert asked.exit == 1
    assert site.supervisor.idle
    assert site.supervisor.storage.pid is None
    await site.end()


async def test_storage_that_ran_stays_where_a_restart_fails(site: FakeSite) -> None:
    await site.ok("start", targets=["storage"])
    site.machine.loads = lambda zygote: zygote.fails("Traceback\nImportError: no such module")
    asked = await site.do("restart")
    assert asked.exit == 1
    assert site.supervisor.storage.serves
    await site.ok("stop")
    await site.end()


@pytest.mark.parametrize("refusal", ["rejects", "keeps_its_configuration"])
async def test_a_server_that_did_not_run_and_that_nginx_cannot_be_told_of_does_not_run_after_it_either(
    site: FakeSite, refusal: str
) -> None:
    await site.started(2)
    await site.ok("stop", targets=["2"])
    pids = site.pids()
    setattr(site.balancer, refusal, "nginx: [emerg] unknown directive")
    asked = await site.do("restart", targets=["servers"])
    assert asked.error.startswith("Server 2 did not come back: nginx ")
    assert asked.error.endswith("(it is down; no server was restarted)")
    assert "Nothing was changed" not in asked.last["hint"]
    assert site.pids() == pids
    assert not site.nginx_knows(2)
    setattr(site.balancer, refusal, "")
    await site.end()


async def test_a_restart_of_servers_does_not_ask_nginx_which_knows_them(site: FakeSite) -> None:
    """A broken include is no reason to refuse new code."""
    await site.started(2)
    site.balancer.rejects = site.balancer.keeps_its_configuration = "nginx: [emerg] unknown directive"
    site.balancer.knows_its_files = False  # as after an adoption
    await site.ok("restart", targets=["servers"])
    site.balancer.rejects = site.balancer.keeps_its_configuration = ""
    await site.end()
