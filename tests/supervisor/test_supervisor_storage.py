"""Storage: never given up, known by its call, killed where it hangs; whatever else serves its files is ended."""

from __future__ import annotations

import asyncio
import itertools
import signal

import pytest
from fake_machine import StorageProcess
from fake_site import FakeSite
from fakes import soon

from zenwebserver.supervisor.adoption import CALL_SECONDS, adopt
from zenwebserver.supervisor.health import SILENT_SECONDS, STUCK_SECONDS, Health
from zenwebserver.supervisor.parts.state import State
from zenwebserver.supervisor.parts.storage import STOP_SECONDS, STRANGER_SECONDS, Storage
from zenwebserver.supervisor.snapshot import snapshot
from zenwebserver.worker.messages import WorkerState

LOCKED = "/home/Data.fs is open in another process, pid 7: zopectl\nEnd that one."


def now() -> float:
    return asyncio.get_running_loop().time()


def storage_of(site: FakeSite) -> Storage:
    return site.supervisor.storage


def newest(site: FakeSite) -> StorageProcess:
    return site.machine.storages[-1]


def loses_its_pid_files(site: FakeSite) -> None:
    for path in site.home.run.glob("*.pid"):
        path.unlink()


# It is never given up.


async def test_it_comes_back_after_any_number_of_deaths(site: FakeSite) -> None:
    await site.started(1)
    for _ in range(8):
        newest(site).die()
        await asyncio.sleep(7)
    await asyncio.sleep(30)
    assert storage_of(site).serves
    assert newest(site).running
    assert newest(site).state is WorkerState.SERVING
    assert site.server(1).pid == site.process(1).pid, "the servers waited for it"
    await site.end()


async def test_what_cannot_start_is_tried_for_ever_with_pauses_that_grow_to_30_seconds_and_then_runs(
    site: FakeSite,
) -> None:
    await site.started(1)
    site.machine.storage_works, site.machine.storage_fails = False, LOCKED
    tries = [now()]
    newest(site).die()
    known = len(site.machine.storages)
    while len(tries) < 12:
        await asyncio.sleep(0.1)
        tries += [now()] * (len(site.machine.storages) - known)
        known = len(site.machine.storages)
    assert [round(later - earlier) for earlier, later in itertools.pairwise(tries)] == [
        *(0, 1, 2, 4, 8, 16),
        *(30, 30, 30, 30, 30),
    ]
    assert storage_of(site).comes_back
    site.machine.storage_works = True
    await asyncio.sleep(31)
    assert storage_of(site).serves
    assert len(site.machine.storages) == known + 1
    await site.end()


async def test_while_it_is_away_the_reason_can_be_seen(site: FakeSite) -> None:
    await site.started(1)
    found = snapshot(site.supervisor)["storage"]
    assert (found["state"], found["reason"], found["needed"]) == ("running", "", True)
    site.machine.storage_works = False
    newest(site).die()
    await asyncio.sleep(5)
    found = snapshot(site.supervisor)["storage"]
    assert (found["state"], found["pid"], found["needed"]) == ("reviving", None, True)
    assert found["reason"] == "it ended with exit code 1"
    site.machine.storage_fails = LOCKED
    await asyncio.sleep(10)
    assert snapshot(site.supervisor)["storage"]["reason"] == LOCKED.splitlines()[0]
    site.machine.storage_works = True
    await asyncio.sleep(30)
    found = snapshot(site.supervisor)["storage"]
    assert (found["state"], found["reason"], found["needed"]) == ("running", "", True)
    await site.end()


async def test_it_is_not_needed_where_the_site_has_its_own(site: FakeSite) -> None:
    await site.started(1)
    assert snapshot(site.supervisor)["storage"]["needed"]
    await site.ok("stop")
    lines = site.home.zope_conf.read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if "<filestorage" in line or "<blobstorage" in line)
    last = max(number for number, line in enumerate(lines) if "</filestorage" in line or "</blobstorage" in line)
    lines[first : last + 1] = ["<zeoclient>", "server 127.0.0.1:1", "</zeoclient>"]
    site.home.zope_conf.write_text("\n".join(lines))
    await site.ok("start")
    assert not snapshot(site.supervisor)["storage"]["needed"]
    await site.end()


async def test_a_start_that_fails_says_in_its_own_words_why_and_what_to_do(site: FakeSite) -> None:
    site.machine.storage_works, site.machine.storage_fails = False, LOCKED
    failed = await site.do("start")
    why, to_do = LOCKED.splitlines()
    assert failed.error == f"Storage did not start: {why}"
    assert (failed.last["hint"], failed.last["detail"]) == (to_do, "")
    assert storage_of(site).state is State.STOPPED
    await site.end()


async def test_of_a_traceback_the_error_is_told_and_the_rest_shown(site: FakeSite) -> None:
    traceback = 'Traceback (most recent call last):\n  File "x"\nValueError: odd'
    site.machine.storage_works, site.machine.storage_fails = False, traceback
    failed = await site.do("start")
    assert failed.error == "Storage did not start: it ended with exit code 1: ValueError: odd"
    assert failed.last["detail"] == traceback
    assert str(site.home.storage_log) in failed.last["hint"]
    await site.end()


async def test_a_restart_of_it_that_fails_is_tried_until_it_holds(site: FakeSite) -> None:
    await site.started(1)
    site.machine.storage_works, site.machine.storage_fails = False, LOCKED
    failed = await site.do("restart", targets=["storage"])
    assert failed.error.startswith("Storage did not start: /home/Data.fs is open")
    assert storage_of(site).comes_back
    site.machine.storage_works = True
    await asyncio.sleep(31)
    assert storage_of(site).serves
    await site.end()


# It is known by its call.


@pytest.mark.parametrize("hidden", [False, True])
async def test_the_next_supervisor_adopts_it_without_any_file_of_it(site: FakeSite, hidden: bool) -> None:
    await site.started(1)
    process = newest(site)
    process.is_hidden = hidden
    await site.supervisor_dies()
    loses_its_pid_files(site)
    begun = now()
    await adopt(site.supervisor)
    assert now() - begun < 1
    assert storage_of(site).pid == process.pid
    assert site.home.pid_file("storage").exists(), "it has one again"
    process.die()
    await asyncio.sleep(1)
    assert storage_of(site).pid == newest(site).pid != process.pid, "it is watched"
    await site.end()


async def test_alone_it_is_found_by_its_command_so_that_a_stop_ends_it(site: FakeSite) -> None:
    await site.ok("start", targets=["storage"])
    await site.supervisor_dies()
    loses_its_pid_files(site)
    await adopt(site.supervisor)
    assert storage_of(site).pid == newest(site).pid
    await site.end()


async def test_one_of_an_earlier_version_that_calls_nobody_is_adopted_by_its_command(site: FakeSite) -> None:
    await site.started(1)
    newest(site).die()
    await storage_of(site).stop()
    former = site.machine.storage_of_a_version_without_a_line()
    await site.supervisor_dies()
    await adopt(site.supervisor)
    assert storage_of(site).pid == former.pid
    health = asyncio.create_task(Health(site.supervisor).watch())
    await asyncio.sleep(10 * SILENT_SECONDS)
    assert former.running, "nobody expects it to say anything"
    health.cancel()
    await site.ok("restart", targets=["storage"])
    assert former.signals == [signal.SIGTERM]
    assert newest(site).call.standing.token, "its successor calls"
    await site.end()


async def test_one_that_hangs_when_the_next_supervisor_begins_is_ended_and_another_starts(site: FakeSite) -> None:
    await site.started(1)
    former = newest(site)
    former.hangs()
    site.machine.slow[former.pid] = 1000.0
    await site.supervisor_dies()
    begun = now()
    await adopt(site.supervisor)
    assert now() - begun == pytest.approx(CALL_SECONDS, abs=0.2)
    await soon()
    assert not former.running
    assert storage_of(site).pid == newest(site).pid
    assert newest(site) is not former
    await site.end()


async def test_one_that_was_starting_when_its_supervisor_died_is_ended_and_another_starts(site: FakeSite) -> None:
    await site.started(1)
    former = newest(site)
    former.call.says(WorkerState.STARTING)
    await site.supervisor_dies()
    await adopt(site.supervisor)
    await soon()
    assert not former.running
    assert storage_of(site).pid == newest(site).pid
    await site.end()


async def test_one_that_was_starting_then_is_ended_also_where_nobody_needs_it(site: FakeSite) -> None:
    await site.started(1)
    former = newest(site)
    former.call.says(WorkerState.STARTING)
    await site.supervisor_dies()
    site.process(1).die("was killed by SIGKILL")
    await adopt(site.supervisor)
    await soon()
    assert not former.running
    assert newest(site) is former, "no other has started"
    await site.end()


async def test_servers_that_are_found_without_it_get_it_back(site: FakeSite) -> None:
    await site.started(1)
    await site.supervisor_dies()
    newest(site).die()
    await adopt(site.supervisor)
    await soon()
    assert storage_of(site).serves
    await site.end()


async def test_where_it_cannot_be_configured_what_there_is_is_used(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.started(1)
    await site.supervisor_dies()
    newest(site).die()

    def full() -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(site.supervisor, "write_storage_conf", full)
    await adopt(site.supervisor)
    await soon()
    assert storage_of(site).serves
    await site.end()


async def test_without_servers_it_stays_stopped(site: FakeSite) -> None:
    await site.started(1)
    await site.ok("stop", targets=["servers"])
    await site.ok("stop", targets=["storage"])
    await site.supervisor_dies()
    await adopt(site.supervisor)
    await asyncio.sleep(60)
    assert storage_of(site).state is State.STOPPED
    await site.end()


# One that hangs.


async def test_one_that_says_nothing_is_killed_with_its_stacks_in_its_log_and_comes_back(site: FakeSite) -> None:
    site.machine.reports = True
    await site.started(1)
    health = asyncio.create_task(Health(site.supervisor).watch())
    await asyncio.sleep(100)
    former = newest(site)
    assert former.running
    former.hangs()
    begun = now()
    await former.wait()
    assert SILENT_SECONDS - 6 <= now() - begun <= SILENT_SECONDS + 3
    assert former.signals == [signal.SIGUSR1, signal.SIGKILL]
    await soon()
    assert storage_of(site).pid == newest(site).pid
    health.cancel()
    await site.end()


async def test_one_that_hangs_while_it_starts_is_killed_and_tried_again(site: FakeSite) -> None:
    site.machine.reports = True
    await site.started(1)
    health = asyncio.create_task(Health(site.supervisor).watch())
    begins = StorageProcess.begins
    try:
        StorageProcess.begins = StorageProcess.hangs  # type: ignore[method-assign]
        newest(site).die()
        await asyncio.sleep(1)
        stuck = newest(site)
    finally:
        StorageProcess.begins = begins  # type: ignore[method-assign]
    await stuck.wait()
    await asyncio.sleep(5)
    assert storage_of(site).pid == newest(site).pid != stuck.pid
    health.cancel()
    await site.end()


async def test_one_that_reads_a_long_index_may_take_its_time(site: FakeSite) -> None:
    site.machine.reports = True
    await site.started(1)
    health = asyncio.create_task(Health(site.supervisor).watch())
    begins = StorageProcess.begins

    def reads(process: StorageProcess) -> None:
        process.in_a_moment(1000, WorkerState.SERVING)
        process._reports_again()

    try:
        StorageProcess.begins = reads  # type: ignore[method-assign]
        newest(site).die()
        await asyncio.sleep(1)
    finally:
        StorageProcess.begins = begins  # type: ignore[method-assign]
    reader = newest(site)
    await asyncio.sleep(1000)
    assert storage_of(site).pid == reader.pid
    health.cancel()
    await site.end()


async def test_one_that_is_stuck_in_one_thing_is_killed_and_one_that_only_takes_long_is_not(site: FakeSite) -> None:
    site.machine.reports = True
    await site.started(1)
    health = asyncio.create_task(Health(site.supervisor).watch())
    former = newest(site)
    former.figures = type(former.figures)(all_busy_seconds=STUCK_SECONDS - 1)
    await asyncio.sleep(60)
    assert former.running
    former.figures = type(former.figures)(all_busy_seconds=STUCK_SECONDS + 1)
    await asyncio.sleep(10)
    assert not former.running
    assert storage_of(site).pid == newest(site).pid
    health.cancel()
    await site.end()


# Whatever else serves the home's files.


async def test_one_that_nobody_knows_is_ended_before_another_starts(site: FakeSite) -> None:
    await site.started(1)
    stranger = site.machine.storage_of_a_version_without_a_line()
    newest_but_one = site.machine.storages[-2]
    newest_but_one.die()
    await asyncio.sleep(1)
    assert stranger.signals == [signal.SIGTERM]
    assert storage_of(site).pid == newest(site).pid
    await site.end()


async def test_a_stop_ends_it_whoever_left_it(site: FakeSite) -> None:
    await site.started(1)
    stranger = site.machine.storage_of_a_version_without_a_line()
    stranger.ignores.add(signal.SIGTERM)
    begun = now()
    await site.ok("stop", targets=["storage"])
    assert now() - begun == pytest.approx(STRANGER_SECONDS, abs=1)
    assert not stranger.running
    another = site.machine.storage_of_a_version_without_a_line()
    await site.ok("stop", targets=["storage"])
    assert not another.running, "though storage was stopped"
    await site.end()


async def test_one_that_does_not_hear_is_killed_when_it_is_stopped(site: FakeSite) -> None:
    await site.started(1)
    former = newest(site)
    former.hangs()
    begun = now()
    await site.ok("stop", targets=["storage"])
    assert now() - begun == pytest.approx(STOP_SECONDS, abs=1)
    assert former.signals == [signal.SIGTERM, signal.SIGKILL]
    await site.end()


async def test_one_that_calls_when_another_serves_is_told_to_leave(site: FakeSite) -> None:
    await site.started(1)
    site.supervisor.reception.adopted()
    stranger = site.machine.storage_of_a_version_without_a_line()
    stranger.calls(0.0)
    await soon()
    assert not stranger.running
    assert storage_of(site).serves
    await site.end()


async def test_of_another_home_that_this_one_is_a_copy_of_nothing_is_ended(site: FakeSite) -> None:
    await site.started(1)
    other = site.machine.storage_of_a_version_without_a_line()
    site.machine.elsewhere.add(other.pid)
    await site.ok("restart", targets=["storage"])
    await site.ok("stop")
    assert other.signals == []
    other.die()
    await site.end()


async def test_while_the_settings_cannot_be_read_it_waits_for_them(site: FakeSite) -> None:
    await site.started(1)
    await site.supervisor_dies()
    newest(site).die()
    site.supervisor.storage.python = ""  # as where a supervisor begins with settings that are wrong
    await adopt(site.supervisor)
    await asyncio.sleep(60)
    assert (storage_of(site).comes_back, storage_of(site).reason) == (True, "the settings cannot be read")
    await site.ok("start")
    assert storage_of(site).serves
    await site.end()
