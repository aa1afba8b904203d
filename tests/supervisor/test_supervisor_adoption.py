"""A new supervisor takes over what an earlier one left, whatever that was doing when it was killed."""

from __future__ import annotations

import asyncio
import itertools
import signal
import socket

import pytest
from fake_machine import CallingProcess, NamedProcess, ServerProcess, ZygoteProcess
from fake_site import FakeSite
from fakes import soon

from zenwebserver.machine.identity import Identity
from zenwebserver.supervisor.adoption import CALL_SECONDS, END_SECONDS, adopt, put_right
from zenwebserver.supervisor.parts import nginx_processes
from zenwebserver.supervisor.parts.state import State
from zenwebserver.worker.messages import OrderName, ServerSpec, WorkerState, ZygoteSpec

TOKENS = itertools.count(1)


def now() -> float:
    return asyncio.get_running_loop().time()


def server_left(
    site: FakeSite, name: str, state: WorkerState = WorkerState.SERVING, *, port: int | None = None, release: str = "1"
) -> ServerProcess:
    """A process of server `name` that an earlier supervisor made; with a `port` it listens. It has not called yet."""
    token = f"earlier {next(TOKENS)}"
    process = ServerProcess(
        site.machine, ServerSpec(server=name, zope_ini="", zope_conf="", threads=4, release=release, token=token)
    )
    site.machine.servers.append(process)
    _stands(process, state)
    if port is not None:
        listener = socket.create_server(("127.0.0.1", port))
        process.call.socket, process.call.listener = listener, listener.dup()
    return process


def zygote_left(site: FakeSite, name: str, state: WorkerState = WorkerState.READY) -> ZygoteProcess:
    process = ZygoteProcess(
        site.machine,
        ZygoteSpec(
            zygote=name, zope_ini="", zope_conf=str(site.home.zope_conf), supervisor="", token=f"earlier {next(TOKENS)}"
        ),
    )
    site.machine.zygotes.append(process)
    _stands(process, state)
    return process


def _stands(process: CallingProcess, state: WorkerState) -> None:
    process._begun = True
    process.call.says(state)


def named(site: FakeSite) -> list[str]:
    return sorted(path.stem for path in site.home.run.glob("*.pid"))


# What was all well.


async def test_all_that_runs_goes_on_and_is_watched_as_before(site: FakeSite) -> None:
    await site.started(3)
    await site.ok("detach", targets=["3"])
    pids, storage, files = site.pids(), site.supervisor.storage.pid, named(site)
    nginx = site.balancer.pid
    await site.supervisor_dies()
    begun = now()
    await adopt(site.supervisor)
    assert now() - begun < 1
    assert site.pids() == pids
    assert (site.supervisor.storage.pid, site.balancer.pid) == (storage, nginx)
    assert [each.name for each in site.supervisor.releases] == ["1"]
    assert site.supervisor.releases[0].forks
    assert all(site.server(number).release is site.supervisor.releases[0] for number in (1, 2, 3))
    assert all(site.process(number).accepts for number in (1, 2, 3))
    assert named(site) == files
    assert site.recorded() == [1, 2, 3]
    assert (await site.ok("start")).done.startswith("It runs already")
    site.process(2).die()
    await asyncio.sleep(1)
    assert site.process(2).accepts, "it came back, warm"
    assert len(site.machine.zygotes) == 1
    site.machine.storages[-1].die()
    await asyncio.sleep(1)
    assert site.supervisor.storage.serves
    await site.ok("restart")
    await site.end()


async def test_where_nothing_is_left_it_takes_no_time(site: FakeSite) -> None:
    begun = now()
    await adopt(site.supervisor)
    assert now() == begun
    assert site.supervisor.idle
    await site.end()


async def test_a_server_keeps_the_port_on_which_it_listens_whatever_the_settings_say(site: FakeSite) -> None:
    await site.started(1)
    await site.supervisor_dies()
    site.supervisor.servers.clear()
    site.set(serverBasePort=site.base + 10)
    site.supervisor.read_settings()
    await adopt(site.supervisor)
    assert site.server(1).address == ("127.0.0.1", site.base + 1)
    site.process(1).die()
    await asyncio.sleep(1)
    assert site.listens(1)
    await site.end()


async def test_what_was_leaving_leaves_and_is_shown(site: FakeSite) -> None:
    await site.started(2)
    process = site.process(2)
    process.call.leave_seconds = 50.0
    await site.ok("deploy", size="-1")
    await site.supervisor_dies()
    await adopt(site.supervisor)
    assert [worker.process.pid for worker in site.server(2).leaving] == [process.pid]
    assert site.server(2).state is State.STOPPED
    assert not site.supervisor.idle
    await asyncio.sleep(60)
    assert not process.running
    assert process.signals == []
    assert list(site.supervisor.servers) == [1]
    await site.end()


async def test_what_rested_in_a_restart_that_was_cut_off_leaves_and_its_successor_serves(site: FakeSite) -> None:
    await site.started(2)
    former = site.process(1)
    release = await site.supervisor.new_release()
    await site.server(1).exchange(release)
    await site.supervisor_dies()
    await adopt(site.supervisor)
    await soon()
    assert site.pids() == {1: site.process(1).pid, 2: site.process(2).pid}
    assert site.process(1).accepts
    assert not former.running
    assert former.signals == []
    assert [each.name for each in site.supervisor.releases] == ["1", "2"]
    assert [site.server(number).release.name for number in (1, 2)] == ["2", "1"]  # type: ignore[union-attr]
    await site.ok("restart")
    assert site.releases() == ["3"]
    await site.end()


async def test_servers_whose_zygote_is_gone_serve_on_and_it_is_loaded_again_when_it_is_needed(site: FakeSite) -> None:
    await site.started(2)
    await site.supervisor_dies()
    site.machine.zygotes[0].die()
    await adopt(site.supervisor)
    (release,) = site.supervisor.releases
    assert (release.warm, release.forks) == (True, False)
    site.process(1).die()
    await asyncio.sleep(5)
    assert site.process(1).accepts
    assert len(site.machine.zygotes) == 2
    await site.end()


async def test_a_zygote_is_kept_though_its_servers_call_first_and_its_configuration_is_lost(site: FakeSite) -> None:
    await site.started(2)
    (zygote,) = site.machine.zygotes
    site.machine.slow[zygote.pid] = 1.0
    await site.supervisor_dies()
    for path in site.home.pool_folder.glob("release*.conf"):
        path.unlink()
    await adopt(site.supervisor)
    assert zygote.running
    site.process(1).die()
    await asyncio.sleep(1)
    assert site.process(1).accepts
    assert site.machine.zygotes == [zygote]
    await site.end()


async def test_what_is_deployed_joins_the_newest_release_whoever_called_first(site: FakeSite) -> None:
    await site.started(2)
    await site.ok("restart", targets=["2"])
    older = [site.machine.zygotes[0], site.process(1)]
    site.machine.slow |= {process.pid: 1.0 for process in older}
    await site.supervisor_dies()
    await adopt(site.supervisor)
    await site.ok("deploy", size="+1")
    assert [site.process(number).spec.release for number in (1, 2, 3)] == ["1", "2", "2"]
    await site.end()


async def test_a_release_whose_restart_was_cut_off_bears_no_more_servers(site: FakeSite) -> None:
    """It was killed while it restarted, or went back: server 1 has the new release, server 2 the former one."""
    site.home.pool_record.write_text('{"servers": {"1": {"attached": true}, "2": {"attached": true}}}')
    for name in ("1", "2"):
        (zygote := zygote_left(site, name)).calls(0.0)
        zygote.name_in(site.home.pid_file(f"zygote{name}"))
        (site.home.pool_folder / f"release{name}.conf").touch()
    for number, release in ((1, "2"), (2, "1")):
        (process := server_left(site, str(number), port=site.base + number, release=release)).calls(0.0)
        process.name_in(site.home.pid_file(f"zope{number}"))
    (site.home.run / "release2.trial").touch()
    (site.home.run / "release9.trial").touch()
    await adopt(site.supervisor)
    assert [each.name for each in site.supervisor.releases] == ["2", "1"]
    await site.ok("deploy", size="+1")
    assert site.process(3).spec.release == "1"
    await site.ok("restart", targets=["servers"])
    await soon()
    assert site.releases() == ["3"]
    assert list(site.home.run.glob("*.trial")) == []
    await site.end()


async def test_while_a_restart_goes_on_its_release_is_known_not_to_have_held_yet(site: FakeSite) -> None:
    await site.started(2)
    trials = set()
    site.machine.boots = lambda server: server.boots(2.0)
    for fails in (False, True):
        if fails:
            site.machine.boots = lambda server: server.fails_after(2.0)
        restart = site.do("restart", targets=["servers"])
        while not restart.ended:
            await asyncio.sleep(0.5)
            trials |= {path.name for path in site.home.run.glob("*.trial")}
        assert restart.exit == fails
        assert list(site.home.run.glob("*.trial")) == []
    assert trials == {"release2.trial", "release3.trial"}
    await site.end()


async def test_a_zygote_without_servers_is_ended(site: FakeSite) -> None:
    zygote = zygote_left(site, "4")
    zygote.calls(0.0)
    zygote.name_in(site.home.pid_file("zygote4"))
    await adopt(site.supervisor)
    assert not zygote.running
    assert site.supervisor.releases == []
    assert named(site) == []
    await site.end()


# What was in the middle of something.


@pytest.mark.parametrize("state", [WorkerState.STARTING, WorkerState.READY, WorkerState.TRYING])
async def test_one_that_never_served_is_ended_and_its_server_is_as_if_it_had_not_been(
    site: FakeSite, state: WorkerState
) -> None:
    process = server_left(site, "5", state)
    process.calls(0.0)
    process.name_in(site.home.pid_file("zope5"))
    await adopt(site.supervisor)
    assert process.orders == [OrderName.LEAVE]
    assert not process.running
    assert site.supervisor.servers == {}
    assert named(site) == []
    await site.end()


async def test_what_pid_files_name_that_came_with_a_copied_home_is_left_alone(site: FakeSite) -> None:
    storage = site.machine.storage_of_a_version_without_a_line()
    others = [storage, server_left(site, "1"), zygote_left(site, "1")]
    for process, name in zip(others, ("storage", "zope1", "zygote1"), strict=True):
        process.name_in(site.home.pid_file(name))
        site.machine.elsewhere.add(process.pid)
    await adopt(site.supervisor)
    assert site.supervisor.idle
    await site.started(1)
    assert site.supervisor.storage.pid not in (None, storage.pid)
    assert site.releases() == ["1"]
    await site.ok("stop")
    assert [process.signals for process in others] == [[], [], []]
    assert all(process.running for process in others)
    for process in others:
        process.die()
    await site.end()


async def test_many_that_never_served_and_do_not_hear_are_ended_at_once(site: FakeSite) -> None:
    for number in range(1, 6):
        process = server_left(site, str(number), WorkerState.STARTING)
        process.call.hears = False
        process.calls(0.0)
        process.name_in(site.home.pid_file(f"zope{number}"))
    begun = now()
    await adopt(site.supervisor)
    assert now() - begun < END_SECONDS + 1
    assert site.machine.running == []
    await site.end()


@pytest.mark.parametrize("state", [WorkerState.STARTING, WorkerState.FAILED, WorkerState.UNSAFE])
async def test_a_zygote_that_is_not_ready_is_ended(site: FakeSite, state: WorkerState) -> None:
    await site.started(1)
    await site.supervisor_dies()
    zygote = zygote_left(site, "2", state)
    zygote.calls(0.0)
    zygote.name_in(site.home.pid_file("zygote2"))
    await adopt(site.supervisor)
    assert not zygote.running
    assert [each.name for each in site.supervisor.releases] == ["1"]
    await site.end()


async def test_a_zygote_that_is_not_ready_is_not_taken_for_that_of_servers_that_run(site: FakeSite) -> None:
    await site.started(1)
    await site.supervisor_dies()
    site.machine.zygotes[0].die()
    loading = zygote_left(site, "1", WorkerState.STARTING)
    loading.calls(0.0)
    await adopt(site.supervisor)
    assert not loading.running
    assert not site.supervisor.releases[0].forks
    site.process(1).die()
    await asyncio.sleep(5)
    assert site.process(1).accepts
    await site.end()


async def test_of_several_zygotes_of_one_release_one_stays(site: FakeSite) -> None:
    await site.started(1)
    others = [zygote_left(site, "1") for _ in range(3)]
    await site.supervisor_dies()
    await adopt(site.supervisor)
    assert len([zygote for zygote in site.machine.zygotes if zygote.running]) == 1
    assert len(others) == 3
    assert site.supervisor.releases[0].forks
    site.process(1).die()
    await asyncio.sleep(1)
    assert site.process(1).accepts
    await site.end()


async def test_of_two_processes_that_serve_for_one_server_one_stays_and_the_other_leaves(site: FakeSite) -> None:
    await site.started(1)
    await site.supervisor_dies()
    first = site.process(1)
    second = server_left(site, "1", port=site.base + 11)
    second.call.leave_seconds = 20.0
    second.calls(0.5)
    second.name_in(site.home.pid_file("zope1"))
    await adopt(site.supervisor)
    assert site.pids() == {1: first.pid}
    assert first.accepts
    assert OrderName.LEAVE in second.orders
    assert [worker.process.pid for worker in site.server(1).leaving] == [second.pid]
    assert not site.listens(11), "the socket that it passed is closed"
    assert Identity.read(site.home.pid_file("zope1")) == first.identity
    await asyncio.sleep(30)
    assert not second.running
    await site.end()


# What nobody asks for, and what cannot be understood.


async def test_a_server_that_is_not_in_the_record_serves_on_until_the_next_change(site: FakeSite) -> None:
    await site.started(3)
    site.home.pool_record.write_text('{"servers": {"1": {"attached": true}}}')
    await site.supervisor_dies()
    await adopt(site.supervisor)
    assert all(site.process(number).accepts for number in (1, 2, 3))
    assert site.supervisor.pool.numbers == (1,)
    await site.ok("start")
    await soon()
    assert list(site.supervisor.servers) == [1]
    assert not any(process.running for number in (2, 3) for process in site.processes(number))
    await site.end()


@pytest.mark.parametrize("change", ["deploy", "detach", "attach"])
async def test_a_change_that_was_cut_off_after_it_was_recorded_is_told_to_nginx(site: FakeSite, change: str) -> None:
    await site.started(2)
    if change == "attach":
        await site.ok("detach", targets=["2"])
    text = site.home.nginx_pool_conf.read_text()
    what = {"size": "1"} if change == "deploy" else {"targets": ["2"]}
    await site.ok(change, **what)
    record = site.home.pool_record.read_text()
    await site.ok("deploy", size="2")
    await site.ok("attach" if change == "detach" else "detach", targets=["2"])  # as before
    if change == "deploy":
        await site.ok("attach", targets=["2"])
    assert site.home.nginx_pool_conf.read_text() == text
    site.home.pool_record.write_text(record)  # so it is killed
    await site.supervisor_dies()
    await adopt(site.supervisor)
    assert site.nginx_knows(2) == (change != "attach")
    reloads = site.balancer.reloads
    await put_right(site.supervisor)
    assert site.balancer.reloads == reloads + 1
    await soon()
    assert site.nginx_knows(2) == (change == "attach")
    assert site.nginx_knows(1)
    await site.ok("start")
    await soon()
    assert list(site.supervisor.servers) == ([1] if change == "deploy" else [1, 2])
    await site.end()


async def test_a_stop_that_was_cut_off_while_nginx_finished_leaves_a_server_that_visitors_reach(site: FakeSite) -> None:
    await site.started(2)
    site.balancer.finishes = None
    site.do("stop", targets=["2"])
    await soon()
    text = site.home.nginx_pool_conf.read_text()
    await site.supervisor_dies()
    site.home.nginx_pool_conf.write_text(text)
    await adopt(site.supervisor)
    assert site.server(2).serves
    assert not site.nginx_knows(2)
    await put_right(site.supervisor)
    assert site.nginx_knows(2)
    await site.end()


async def test_a_supervisor_that_was_killed_before_nginx_had_read_the_pools_file_is_made_up_for(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With TLS a reload waits for up to 5 s for the one before it."""
    await site.started(2)
    workers = site.balancer.workers
    await site.ok("detach", targets=["2"])
    await site.supervisor_dies()
    await adopt(site.supervisor)
    site.balancer.workers = workers
    monkeypatch.setattr(nginx_processes, "all_began_before", lambda *_: True)
    site.supervisor.membership.adopt()
    assert site.supervisor.nginx_sends_to(site.server(2)) is None, "nobody knows"
    await put_right(site.supervisor)
    assert not site.nginx_knows(2)
    assert site.supervisor.nginx_sends_to(site.server(2)) is False
    await site.end()


async def test_where_nginx_has_the_pool_or_does_not_run_an_adoption_tells_it_nothing(site: FakeSite) -> None:
    await site.started(2)
    await site.ok("detach", targets=["2"])
    await site.supervisor_dies()
    await adopt(site.supervisor)
    reloads = site.balancer.reloads
    await put_right(site.supervisor)
    assert site.balancer.reloads == reloads
    await site.end()
    await site.ok("start", targets=["1"])
    await site.supervisor_dies()
    await adopt(site.supervisor)
    site.home.pool_record.write_text("{")
    await put_right(site.supervisor)
    await site.end()


@pytest.mark.parametrize("broken", ["nginx", "record", "settings"])
async def test_where_nginx_cannot_be_put_right_that_is_logged_and_it_sends_as_before(
    site: FakeSite, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    await site.started(2)
    site.home.pool_record.write_text('{"servers": {"1": {"attached": true}}}')
    await site.supervisor_dies()
    await adopt(site.supervisor)
    settings, record = site.home.settings_file.read_text(), site.home.pool_record.read_text()
    if broken == "nginx":
        site.balancer.rejects = "nginx: [emerg] unknown directive"
    else:
        (site.home.pool_record if broken == "record" else site.home.settings_file).write_text("{")
    await put_right(site.supervisor)
    assert "nginx was not told of the pool as it is" in caplog.text
    assert site.nginx_knows(2)
    assert site.server(2).serves
    site.balancer.rejects = ""
    site.home.settings_file.write_text(settings)
    site.home.pool_record.write_text(record)
    await site.end()


async def test_where_the_record_cannot_be_read_the_pool_is_what_runs_attached_as_nginx_knows_it(
    site: FakeSite, caplog: pytest.LogCaptureFixture
) -> None:
    await site.started(4)
    await site.ok("detach", targets=["4"])
    await site.ok("stop", targets=["2"])
    site.home.pool_record.write_text("{")
    await site.supervisor_dies()
    site.home.pid_file("zope3").unlink()  # a full disk
    await adopt(site.supervisor)
    assert "The pool's record cannot be read" in caplog.text
    assert site.supervisor.pool.servers == {1: True, 3: True, 4: False}
    assert {number: site.process(number).accepts for number in (1, 3)} == {1: True, 3: True}
    assert site.home.pool_record.read_text() == "{"
    await site.end()


async def test_where_the_record_was_removed_the_pool_is_what_runs_and_is_recorded_anew(site: FakeSite) -> None:
    await site.started(3)
    await site.ok("detach", targets=["3"])
    site.home.pool_record.unlink()
    await site.ok("attach", targets=["1"])
    assert site.supervisor.pool.servers == {1: True, 2: True, 3: False}
    assert site.recorded() == [1, 2, 3]
    site.home.pool_record.unlink()
    await site.supervisor_dies()
    await adopt(site.supervisor)
    await put_right(site.supervisor)
    assert [site.nginx_knows(number) for number in (1, 2, 3)] == [True, True, False]
    await site.ok("deploy", size="+1")
    assert site.supervisor.pool.servers == {1: True, 2: True, 3: False, 4: True}
    assert site.recorded() == [1, 2, 3, 4]
    await site.end()


@pytest.mark.parametrize(
    "record",
    ["[" * 100_000, '{"servers": {"-1": {"attached": true}}}', '{"servers": {"999999": {"attached": true}}}', "[]"],
)
async def test_no_record_keeps_the_supervisor_from_beginning(site: FakeSite, record: str) -> None:
    await site.started(1)
    site.home.pool_record.write_text(record)
    await site.supervisor_dies()
    await adopt(site.supervisor)
    assert site.process(1).accepts
    assert site.supervisor.pool.servers == {1: True}
    await site.end()


NAMES = ["../x", "99999999", "9" * 5000, "0", "-1", "", "1\n", "٣", "debug", "1/../../2"]


@pytest.mark.parametrize("name", NAMES)
async def test_a_server_by_no_name_of_a_server_is_ended_and_harms_nothing(site: FakeSite, name: str) -> None:
    await site.started(1)
    await site.supervisor_dies()
    process = server_left(site, name, port=site.base + 11)
    process.calls(0.0)
    before = set(site.home.path.rglob("*"))
    await adopt(site.supervisor)
    await soon()
    assert not process.running
    assert list(site.supervisor.servers) == [1]
    assert site.process(1).accepts
    assert set(site.home.path.rglob("*")) <= before
    assert not site.listens(11)
    await site.end()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("0", "99999999", "")])
async def test_a_release_by_no_name_of_a_release_harms_nothing(site: FakeSite, name: str) -> None:
    await site.started(1)
    await site.supervisor_dies()
    zygote = zygote_left(site, name)
    zygote.calls(0.0)
    served = server_left(site, "2", port=site.base + 2, release=name)
    served.calls(0.0)
    before = set(site.home.path.rglob("*"))
    await adopt(site.supervisor)
    await soon()
    assert not zygote.running
    assert served.accepts, "it serves, in a release of which nothing is known"
    assert set(site.home.path.rglob("*")) - before <= {site.home.pid_file("zope2")}
    await site.ok("restart")
    await site.end()


# Who calls late, or never.


async def test_one_that_calls_late_is_waited_for(site: FakeSite) -> None:
    await site.started(2)
    pids = site.pids()
    site.machine.slow[site.process(2).pid] = CALL_SECONDS - 1
    await site.supervisor_dies()
    await adopt(site.supervisor)
    assert site.pids() == pids
    assert site.process(2).accepts
    await site.end()


async def test_one_that_does_not_call_is_killed(site: FakeSite) -> None:
    await site.started(2)
    site.machine.slow[site.process(2).pid] = 1000.0
    await site.supervisor_dies()
    begun = now()
    await adopt(site.supervisor)
    assert now() - begun < CALL_SECONDS + 1
    assert site.process(2).signals == [signal.SIGKILL]
    assert site.pids() == {1: site.process(1).pid, 2: None}
    assert "zope2" not in named(site)
    await site.ok("start")
    await site.end()


async def test_one_that_dies_before_it_has_called_is_not_waited_for(site: FakeSite) -> None:
    await site.started(2)
    site.machine.slow[site.process(2).pid] = 1000.0
    await site.supervisor_dies()
    asyncio.get_running_loop().call_later(1.0, site.process(2).die)
    begun = now()
    await adopt(site.supervisor)
    assert now() - begun < 1.5
    assert "zope2" not in named(site)
    await site.end()


async def test_one_that_dies_meanwhile_and_whose_pid_another_process_has_by_then_harms_nobody(site: FakeSite) -> None:
    await site.started(2)
    died = site.process(2)
    site.machine.slow[died.pid] = 1000.0
    await site.supervisor_dies()
    other = NamedProcess(site.machine)
    other.pid, other.identity = died.pid, Identity(died.pid, 2)

    def die() -> None:
        died.die()
        site.machine.processes[died.pid] = other

    asyncio.get_running_loop().call_later(1.0, die)
    begun = now()
    await adopt(site.supervisor)
    assert now() - begun < 1.5
    assert other.signals == []
    other.die()
    await site.end()


async def test_one_whose_pid_file_is_lost_is_adopted_by_its_call(site: FakeSite) -> None:
    await site.started(2)
    pids = site.pids()
    for path in site.home.run.glob("z*.pid"):
        path.unlink()
    await site.supervisor_dies()
    await adopt(site.supervisor)
    assert site.pids() == pids
    assert all(site.process(number).accepts for number in (1, 2))
    assert len(site.machine.zygotes) == 1
    assert {"zope1", "zope2", "zygote1"} <= set(named(site))
    await site.end()


async def test_one_that_calls_while_others_are_still_taken_over_is_taken_over_too(site: FakeSite) -> None:
    await site.started(2)
    site.home.pid_file("zope2").unlink()
    stuck = server_left(site, "7", WorkerState.STARTING)
    stuck.call.hears = False
    stuck.calls(0.0)
    site.machine.slow[site.process(2).pid] = 2.0
    await site.supervisor_dies()
    await adopt(site.supervisor)
    assert site.process(2).accepts
    assert site.pids() == {number: site.process(number).pid for number in (1, 2)}
    await site.end()


async def test_one_that_calls_when_all_is_done_is_sent_away(site: FakeSite) -> None:
    await site.started(1)
    await site.supervisor_dies()
    late = server_left(site, "2", port=site.base + 2)
    late.calls(20.0)
    zygote = zygote_left(site, "7")
    zygote.calls(20.0)
    await adopt(site.supervisor)
    await asyncio.sleep(21)
    assert late.orders == [OrderName.LEAVE]
    assert not late.running
    assert zygote.signals == [signal.SIGKILL]
    assert not site.listens(2)
    assert list(site.supervisor.servers) == [1]
    await site.end()


async def test_a_call_that_ends_before_it_is_looked_at_is_no_harm(site: FakeSite) -> None:
    await site.started(1)
    await site.supervisor_dies()
    process = server_left(site, "2", port=site.base + 2)
    process.calls(0.0)
    asyncio.get_running_loop().call_later(0.1, process.die)
    await adopt(site.supervisor)
    assert list(site.supervisor.servers) == [1]
    assert not site.listens(2)
    await site.end()


async def test_pid_files_of_the_dead_are_removed(site: FakeSite) -> None:
    await site.started(2)
    process = site.process(2)
    await site.supervisor_dies()
    process.die()
    site.home.pid_file("zope9").write_text("no pid\n")
    site.home.pid_file("zygote9").write_text("1 1 1\n")
    await adopt(site.supervisor)
    assert named(site) == ["storage", "zope1", "zygote1"]
    assert site.server(2).state is State.STOPPED
    await site.end()
