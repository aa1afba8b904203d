"""start: what comes up, in which order, and that a start that fails leaves nothing."""

from __future__ import annotations

import asyncio

import pytest
from fake_machine import ServerProcess
from fake_site import FakeSite
from fakes import soon

from zenwebserver.errors import ZenwebserverError
from zenwebserver.supervisor.parts.state import State


def fails(*numbers: int, after: float = 0.0) -> object:
    def boots(server: ServerProcess) -> None:
        if int(server.spec.server) in numbers:
            server.fails_after(after)
        else:
            server.boots()

    return boots


async def test_a_first_start_makes_two_servers_and_everything_runs(site: FakeSite) -> None:
    asked = await site.ok("start")
    assert list(asked.steps) == [
        "Starting Storage",
        "Loading the site",
        "Starting Server 1",
        "Starting Server 2",
        "Starting Load balancer",
    ]
    assert asked.done == f"Started: http://127.0.0.1:{site.base}/"
    assert site.recorded() == [1, 2]
    assert [site.nginx_knows(number) for number in (1, 2, 3)] == [True, True, False]
    again = await site.ok("start")
    assert again.events == [{"done": f"It runs already: http://127.0.0.1:{site.base}/", "exit": 0}]
    await site.end()


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("start", {"targets": ["bogus"]}),
        ("start", {"targets": ["server9"]}),
        ("restart", {"targets": ["bogus"]}),
        ("deploy", {"size": "x"}),
        ("deploy", {"size": "0"}),
    ],
)
async def test_where_there_is_no_home_a_mistyped_word_makes_none(
    site: FakeSite, name: str, what: dict[str, object]
) -> None:
    site.home.settings_file.unlink()
    asked = await site.do(name, **what)
    assert asked.exit == 2
    assert not any("password" in event for event in asked.events)
    assert not site.home.exists()
    await site.end()


@pytest.mark.parametrize("name", ["start", "restart", "init", "configure", "verify", "reload"])
async def test_where_the_home_was_moved_away_no_other_is_made_in_its_place_and_what_runs_can_be_stopped(
    site: FakeSite, name: str
) -> None:
    await site.started(2)
    moved = site.home.path.rename(site.home.path.with_name(site.home.path.name + "m"))
    asked = await site.do(name)
    assert asked.exit == 1
    assert f"that of {site.home.path}, which is gone" in asked.events[-1]["error"]
    site.moved_to = moved / "etc"
    asked = await site.do(name)
    assert f"that of {site.home.path}, which was moved to {moved} while it ran" in asked.events[-1]["error"]
    assert "zenwebserver stop, then zenwebserver start" in asked.events[-1]["hint"]
    assert not site.home.path.exists()
    assert all(site.server(number).serves for number in (1, 2))
    moved.rename(site.home.path)
    await site.ok("stop")
    await site.end()


async def test_what_runs_already_is_told_where_it_was_named(site: FakeSite) -> None:
    await site.started(2)
    asked = await site.ok("start", targets=["1", "nginx", "storage"])
    assert asked.notes == ["Storage runs already", "Server 1 runs already", "Load balancer runs already"]
    await site.ok("stop", targets=["2"])
    asked = await site.ok("start")
    assert asked.notes == ["Server 1 runs already", "Load balancer runs already"]
    assert asked.steps == {"Starting Server 2": True}
    assert site.nginx_knows(2)
    await site.end()


async def test_where_only_storage_does_not_run_that_is_started_and_said(site: FakeSite) -> None:
    await site.started(2)
    assert (await site.ok("start")).done.startswith("It runs already")
    await site.supervisor.storage.stop()
    asked = await site.ok("start")
    assert "Starting Storage" in asked.steps
    assert asked.done.startswith("Started")
    await site.end()


async def test_a_server_that_is_started_alone_is_told_to_nginx(site: FakeSite) -> None:
    await site.started(2)
    await site.ok("stop", targets=["2"])
    assert not site.nginx_knows(2)
    asked = await site.ok("start", targets=["2"])
    assert asked.steps == {"Starting Server 2": True}
    assert site.nginx_knows(2)
    await site.end()


@pytest.mark.parametrize("made_by_storage", [False, True])
async def test_a_new_database_is_made_by_the_first_server_alone(site: FakeSite, made_by_storage: bool) -> None:
    (site.home.var / "filestorage" / "Data.fs").unlink()
    if made_by_storage:  # which is started before servers are
        (site.home.var / "filestorage" / "Data.fs").write_bytes(b"FS30")
    site.machine.boots = lambda server: server.boots(10.0)
    start = site.do("start")
    await asyncio.sleep(9)
    assert len(site.machine.servers) == 1
    await start
    assert len(site.machine.servers) == 2
    await site.end()


async def test_as_many_boot_at_once_as_there_are_processors(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    await site.started(5)
    await site.ok("stop")
    site.machine.servers.clear()
    site.machine.boots = lambda server: server.boots(10.0)
    start = site.do("start")
    seen = []
    for _ in range(2):
        await asyncio.sleep(6)
        seen.append(len(site.machine.servers))
    await start
    assert seen == [3, 5]
    await site.end()


# A start that fails.


async def test_a_site_that_cannot_be_loaded_leaves_nothing(site: FakeSite) -> None:
    site.machine.loads = lambda zygote: zygote.fails("Traceback\nImportError: no such module")
    asked = await site.do("start")
    assert asked.error == "the site could not be loaded: it ended with exit code 1: ImportError: no such module"
    assert asked.last["detail"] == "Traceback\nImportError: no such module"
    assert "Starting Server 1" not in asked.steps
    assert site.machine.running == []
    assert site.releases() == []
    assert not site.listens(1)
    assert site.idle, "the supervisor may end"
    await site.end()


async def test_servers_that_all_fail_leave_nothing(site: FakeSite) -> None:
    site.machine.boots = fails(1, 2)
    asked = await site.do("start")
    assert asked.error.startswith("Server 1 did not come up: ended with exit code 1: ValueError: broken")
    assert asked.steps["Starting Server 1"] is asked.steps["Starting Server 2"] is False
    assert "Starting Load balancer" not in asked.steps
    await soon()
    assert site.machine.running == []
    assert site.releases() == []
    assert not site.listens(1)
    assert site.idle, "the supervisor may end"
    await site.end()


async def test_what_the_machine_lacks_leaves_nothing_either(site: FakeSite) -> None:
    spawn = site.machine.spawn

    def lacks_after_storage(arguments: list[str], **how: object) -> object:
        if "storage" not in arguments[-1].split(":")[0]:
            raise OSError(11, "Resource temporarily unavailable")
        return spawn(arguments, **how)

    site.machine.spawn = lacks_after_storage  # type: ignore[method-assign,assignment]
    asked = await site.do("start")
    assert asked.exit == 1
    assert "Resource temporarily unavailable" in asked.error
    assert site.machine.running == []
    assert site.idle
    await site.end()


async def test_one_server_that_fails_keeps_the_others_and_the_load_balancer_from_nothing(site: FakeSite) -> None:
    site.machine.boots = fails(2)
    asked = await site.do("start")
    assert asked.error.startswith("Server 2 did not come up")
    assert asked.steps["Starting Load balancer"]
    assert site.server(1).serves
    assert site.balancer.serves
    assert site.supervisor.storage.serves
    assert site.nginx_knows(1)
    assert not site.nginx_knows(2)
    assert site.recorded() == [1, 2]
    await site.end()


async def test_one_whose_folder_cannot_be_made_is_told_and_the_others_are_waited_for(site: FakeSite) -> None:
    await site.started(3)
    await site.ok("stop")
    site.home.client_home("1").rmdir()
    site.home.client_home("1").touch()
    site.machine.boots = lambda server: server.boots(10.0)
    asked = await site.do("start")
    assert asked.error.startswith(f"Server 1 did not come up: {site.home.client_home('1')}: File exists")
    assert [site.server(number).state for number in (1, 2, 3)] == [State.STOPPED, State.RUNNING, State.RUNNING]
    await site.end()


async def test_a_defect_while_several_start_ends_only_when_none_starts_any_more(site: FakeSite) -> None:
    await site.started(3)
    await site.ok("stop")

    def boots(server: ServerProcess) -> None:
        server.boots(10.0)

    site.machine.boots = boots
    start = site.supervisor.start_server

    async def defect(server: object, release: object) -> None:
        if server is site.server(1):
            raise KeyError("a defect")
        await start(server, release)  # type: ignore[arg-type]

    site.supervisor.start_server = defect  # type: ignore[method-assign,assignment]
    asked = await site.do("start")
    assert asked.error == "start failed by a defect of zenwebserver"
    assert State.STARTING not in [site.server(number).state for number in (1, 2, 3)]
    site.supervisor.start_server = start  # type: ignore[method-assign]
    await site.end()


async def test_storage_that_others_use_stays(site: FakeSite) -> None:
    await site.ok("start", targets=["storage"])
    site.machine.boots = fails(1, 2)
    await site.do("start")
    assert site.supervisor.storage.serves
    await site.end()


async def test_a_load_balancer_that_does_not_start_leaves_the_servers_running(site: FakeSite) -> None:
    await site.ok("deploy", size="2")
    site.balancer.does_not_start = "nginx: [emerg] bind() failed"
    asked = await site.do("start")
    assert asked.error == "nginx did not start: it ended with exit code 1"
    assert asked.last["hint"] == "The load balancer does not run; what serves: Server 1, 2."
    assert site.server(1).serves
    site.balancer.does_not_start = ""
    await site.ok("start")
    await site.end()


@pytest.mark.parametrize("targets", [["2"], []])
@pytest.mark.parametrize("refusal", ["rejects", "keeps_its_configuration"])
async def test_servers_that_nginx_cannot_be_told_of_are_stopped_again(
    site: FakeSite, targets: list[str], refusal: str
) -> None:
    await site.started(2)
    await site.ok("stop", targets=["2"])
    setattr(site.balancer, refusal, "nginx: [emerg] unknown directive")
    asked = await site.do("start", targets=targets)
    assert "nginx" in asked.error
    assert asked.last["hint"] == "Stopped again: Server 2. The pool is as it was."
    assert not site.process(2).running
    assert not site.listens(2)
    assert not site.nginx_knows(2)
    assert site.server(1).serves
    setattr(site.balancer, refusal, "")
    await site.ok("start", targets=targets)
    assert site.nginx_knows(2)
    await site.end()


async def test_a_server_that_came_back_while_its_start_was_prepared_is_not_started_twice(site: FakeSite) -> None:
    await site.started(2)
    site.machine.boots = lambda server: server.boots(1.0)
    site.process(2).die()
    await soon()
    for zygote in site.machine.zygotes:
        assert zygote.running
    start = site.do("start")
    await start
    await asyncio.sleep(60)
    assert start.exit == 0
    assert len([process for process in site.processes(2) if process.running]) == 1
    assert site.server(2).serves
    await site.end()


async def test_what_is_started_is_warmed_up_and_what_comes_back_by_itself_is_back_sooner(site: FakeSite) -> None:
    site.set(warmupPaths="/front")
    await site.started(1)
    assert site.process(1).spec.warmup_paths == ("/front",)
    site.process(1).die()
    await asyncio.sleep(1)
    assert site.process(1).accepts
    assert site.process(1).spec.warmup_paths == ()
    await site.ok("restart", targets=["1"])
    assert site.process(1).spec.warmup_paths == ("/front",)
    await site.end()


async def test_a_port_that_somebody_has_is_told_before_anything_is_started(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def taken() -> None:
        raise ZenwebserverError("Port 8080 is taken by another (pid 1)")

    with monkeypatch.context() as patch:
        patch.setattr(site.balancer, "claim_ports", taken)
        asked = await site.do("start")
    assert asked.error == "Port 8080 is taken by another (pid 1)"
    assert asked.steps == {}
    assert site.machine.processes == {}
    await site.end()


async def test_what_is_made_of_zope_conf_is_for_its_owner_alone(site: FakeSite) -> None:
    def modes() -> dict[str, int]:
        return {path.name: path.stat().st_mode & 0o777 for path in site.home.pool_folder.glob("*.conf")}

    await site.started(1)
    secret = dict.fromkeys(("zope1.conf", "storage.conf", "release1.conf"), 0o600)
    assert modes() == secret
    site.machine.boots = ServerProcess.fails
    assert (await site.do("restart")).exit == 1
    assert modes() == secret, "put back"
    site.machine.boots = lambda server: server.boots()
    await site.end()
