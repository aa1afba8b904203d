"""The supervisor's API: every answer ends by telling how it ended, and looking changes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asgi_client import Client
from fake_site import FakeSite
from fakes import soon

from zenwebserver.errors import NeedsConsent, UsageError, ZenwebserverError
from zenwebserver.supervisor import api
from zenwebserver.supervisor.report import Report
from zenwebserver.supervisor.supervisor import Supervisor

Operation = Callable[[Supervisor, Report], Awaitable[str]]


def post(site: FakeSite, path: str, body: bytes = b"{}") -> Client:
    return Client(site.api.app, "POST", path, body)


async def get(site: FakeSite, path: str) -> Any:
    client = await Client(site.api.app, "GET", path).answered()
    assert client.status == 200
    return client.content


@pytest.fixture
def plays(monkeypatch: pytest.MonkeyPatch) -> Callable[[Operation], None]:
    """Makes a coroutine the operation `play`."""

    def play(operation: Operation) -> None:
        monkeypatch.setitem(api.OPERATIONS, "play", operation)

    return play


def raising(error: BaseException) -> Operation:
    async def operation(_: Supervisor, report: Report) -> str:
        with report.step("Playing"):
            raise error

    return operation


# How an answer ends.


async def test_steps_come_as_they_go_and_the_last_event_tells_how_it_ended(site: FakeSite) -> None:
    site.machine.boots = lambda server: server.boots(10.0)
    client = post(site, "/operations/start")
    await asyncio.sleep(5)
    assert {"end": "Loading the site", "ok": True} in client.events
    assert client.events[-1] == {"begin": "Starting Server 2"}
    await client.answered()
    assert client.status == 200
    assert client.last == {"done": f"Started: http://127.0.0.1:{site.base}/", "exit": 0}
    await site.end()


async def test_an_operation_of_a_later_version_is_refused_and_upgrade_is_named(site: FakeSite) -> None:
    client = await post(site, "/operations/frobnicate").answered()
    assert client.last["exit"] == 2
    assert client.last["error"].endswith("does not know the operation frobnicate")
    assert "zenwebserver upgrade" in client.last["hint"]
    assert site.idle


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b'"stop"', b"\xff", b"[" * 100_000, b'{"targets": ' * 100_000])
async def test_a_body_that_is_no_object_is_told_and_nothing_is_done(site: FakeSite, body: bytes) -> None:
    await site.started(1)
    pids = site.pids()
    client = await post(site, "/operations/stop", body).answered()
    assert client.last["exit"] == 2
    assert "no JSON object" in client.last["error"]
    assert "Nothing was done" in client.last["hint"]
    assert site.pids() == pids
    await site.end()


async def test_what_a_later_command_wants_and_this_supervisor_cannot_is_refused_and_upgrade_is_named(
    site: FakeSite,
) -> None:
    await site.started(1)
    pids = site.pids()
    body = {"targets": ["1"], "gently": True, "by": "force"}
    client = await post(site, "/operations/stop", json.dumps(body).encode()).answered()
    assert client.last["exit"] == 2
    assert client.last["error"].endswith("does not know what stop is to do with: by, gently")
    assert "Nothing was done" in client.last["hint"]
    assert "zenwebserver upgrade" in client.last["hint"]
    assert site.pids() == pids
    await site.end()


async def test_what_an_earlier_command_does_not_say_is_asked_for(site: FakeSite) -> None:
    client = await post(site, "/operations/deploy").answered()
    assert client.last["exit"] == 2
    assert client.last["error"].endswith("wants to know for deploy: size")


@pytest.mark.parametrize("name", sorted(api.OPERATIONS))
async def test_every_operation_refuses_what_it_does_not_know_before_it_waits_for_others(
    site: FakeSite, name: str
) -> None:
    async with site.supervisor.changes.make("something long"):
        client = await post(site, f"/operations/{name}", b'{"unheard_of": 1}').answered()
    assert client.last["exit"] == 2
    assert site.supervisor.changes.idle


@pytest.mark.parametrize(
    ("error", "message", "code", "ask"),
    [
        (ZenwebserverError("The disk is on fire", hint="Nothing was changed.", detail="smoke"), "on fire", 1, False),
        (UsageError("Not a number", hint="Nothing was changed.", detail="smoke"), "Not a number", 2, False),
        (NeedsConsent("That is much", hint="Nothing was changed.", detail="smoke"), "That is much", 2, True),
    ],
)
async def test_an_error_for_a_person_is_told_as_it_is(
    site: FakeSite, plays: Callable[[Operation], None], error: ZenwebserverError, message: str, code: int, ask: bool
) -> None:
    plays(raising(error))
    client = await post(site, "/operations/play").answered()
    assert client.events[-2] == {"end": "Playing", "ok": False}
    assert message in client.last["error"]
    assert (client.last["exit"], client.last["ask"]) == (code, ask)
    assert (client.last["hint"], client.last["detail"]) == ("Nothing was changed.", "smoke")
    assert site.supervisor.changes.idle


async def test_what_the_machine_lacks_is_told_without_a_traceback(
    site: FakeSite, plays: Callable[[Operation], None]
) -> None:
    plays(raising(OSError(28, "No space left on device")))
    client = await post(site, "/operations/play").answered()
    assert client.last["error"] == "play failed: No space left on device"
    assert (client.last["exit"], client.last["detail"]) == (1, "")
    assert site.supervisor.changes.idle


async def test_a_defect_is_told_as_one_with_its_traceback_and_the_supervisor_goes_on(
    site: FakeSite, plays: Callable[[Operation], None]
) -> None:
    plays(raising(KeyError("surprise")))
    client = await post(site, "/operations/play").answered()
    assert client.last["error"] == "play failed by a defect of zenwebserver"
    assert "KeyError: 'surprise'" in client.last["detail"]
    assert client.last["exit"] == 1
    await site.started(1)
    await site.end()


async def test_one_that_is_cut_off_by_the_supervisors_end_says_so(
    site: FakeSite, plays: Callable[[Operation], None]
) -> None:
    async def for_ever(_: Supervisor, report: Report) -> str:
        with report.step("Playing"):
            await asyncio.sleep(10_000)
        return ""

    plays(for_ever)
    directly = site.do("play")
    goes_on = post(site, "/operations/play")
    waits = post(site, "/operations/stop")
    await soon()
    await site.tasks.end()
    for name, client in (("play", goes_on), ("stop", waits)):
        await client.answered()
        assert client.last["error"] == f"{name} was cut off: the supervisor ends"
        assert "zenwebserver start" in client.last["hint"]
        assert client.last["exit"] == 1
    assert directly.task.cancelled()
    assert site.supervisor.changes.idle


async def test_a_client_that_goes_away_does_not_stop_the_change(site: FakeSite) -> None:
    site.machine.boots = lambda server: server.boots(10.0)
    client = post(site, "/operations/start")
    await asyncio.sleep(5)
    client.goes_away()
    await client.answered()
    assert site.supervisor.changes.current == "start"
    await asyncio.sleep(30)
    assert site.supervisor.changes.idle
    assert site.balancer.serves
    assert all(site.server(number).serves for number in (1, 2))
    await site.end()


async def test_one_that_waits_is_not_done_when_its_client_has_gone_away(site: FakeSite) -> None:
    site.machine.boots = lambda server: server.boots(10.0)
    start = post(site, "/operations/start")
    await soon()
    stop = post(site, "/operations/stop")
    upgrade = post(site, "/upgrade", b"{}")
    run = post(site, "/sessions/run")
    await soon()
    for waits in (stop, upgrade, run):
        assert waits.events == [{"note": "Waiting for: start"}]
        waits.goes_away()
        await waits.answered()
    await start.answered()
    await asyncio.sleep(60)
    assert start.last["exit"] == 0
    assert site.supervisor.changes.idle
    assert site.balancer.serves
    assert all(site.server(number).serves for number in (1, 2))
    await site.end()


async def test_who_must_wait_is_told_for_what(site: FakeSite) -> None:
    site.machine.boots = lambda server: server.boots(10.0)
    first = post(site, "/operations/deploy", b'{"size": "3"}')
    await soon()
    second = post(site, "/operations/restart", b'{"targets": ["2", "nginx"]}')
    await soon()
    assert second.events == [{"note": "Waiting for: deploy"}]
    third = post(site, "/operations/stop")
    await asyncio.sleep(31)
    assert first.last["exit"] == 0
    assert site.supervisor.changes.current == "restart 2 nginx"
    await second.answered()
    await third.answered()
    assert [second.last["exit"], third.last["exit"]] == [0, 0]
    await site.end()


async def test_the_supervisor_is_told_that_a_change_has_ended_however_it_did(
    site: FakeSite, plays: Callable[[Operation], None]
) -> None:
    for error in (ZenwebserverError("broken"), OSError("broken"), ValueError("broken")):
        site.idle = 0
        plays(raising(error))
        await post(site, "/operations/play").answered()
        assert site.idle == 1, error
    site.idle = 0
    await post(site, "/operations/stop", b'{"unheard_of": 1}').answered()
    assert site.idle == 1


async def test_a_start_that_is_typed_while_everything_stops_keeps_the_supervisor_and_comes_up(site: FakeSite) -> None:
    await site.started(2)
    site.idle = 0
    site.machine.leave_seconds = 20.0
    for number in (1, 2):
        site.process(number).call.leave_seconds = 20.0
    stop = post(site, "/operations/stop")
    await asyncio.sleep(10)
    start = post(site, "/operations/start")
    await stop.answered()
    await start.answered()
    assert (stop.last["exit"], start.last["exit"]) == (0, 0)
    assert site.idle == 0, "at no time could it have ended"
    assert site.supervisor.storage.serves
    assert all(site.server(number).serves for number in (1, 2))
    site.process(1).call.leave_seconds = site.process(2).call.leave_seconds = 0.0
    await site.end()


async def test_upgrade_waits_for_the_change_that_is_under_way(site: FakeSite) -> None:
    site.machine.boots = lambda server: server.boots(10.0)
    start = post(site, "/operations/start")
    await asyncio.sleep(5)
    upgrade = post(site, "/upgrade")
    await soon()
    assert upgrade.events == [{"note": "Waiting for: start"}]
    await upgrade.answered()
    assert start.last["exit"] == 0
    assert upgrade.last == {"done": "Upgraded", "exit": 0}
    await site.end()


# Looking.


def seen(site: FakeSite) -> dict[str, Any]:
    """All that looking could have changed."""
    supervisor = site.supervisor
    return {
        "servers": {
            number: (server, server.state, server.worker, server.release, server.process, server.reason)
            for number, server in supervisor.servers.items()
        },
        "releases": list(supervisor.releases),
        "pool": supervisor.pool,
        "parts": [(part.state, part.process) for part in (supervisor.storage, supervisor.balancer)],
        "files": {path: path.read_bytes() for path in site.home.etc.rglob("*") if path.is_file()},
    }


async def test_status_changes_nothing_and_makes_no_server_known(site: FakeSite) -> None:
    assert seen(site)["servers"] == {}
    site.home.pool_record.write_text('{"servers": {"1": {"attached": true}, "7": {"attached": false}}}')
    before = seen(site)
    status = await get(site, "/status")
    assert status["servers"] == []
    assert seen(site) == before

    site.home.pool_record.unlink()
    await site.started(2)
    site.home.pool_record.write_text('{"servers": {"1": {"attached": true}, "7": {"attached": false}}}')
    before = seen(site)
    status = await get(site, "/status")
    assert [server["number"] for server in status["servers"]] == [1, 2]
    assert seen(site) == before
    await site.end()


async def test_status_waits_for_nobody_and_tells_what_is_being_changed(site: FakeSite) -> None:
    site.machine.boots = lambda server: server.boots(10.0)
    start = site.do("start")
    await asyncio.sleep(5)
    began = asyncio.get_running_loop().time()
    status = await get(site, "/status")
    assert status["change"] == "start"
    assert asyncio.get_running_loop().time() - began < 1
    await start
    assert (await get(site, "/status"))["change"] == ""
    await site.end()


async def test_threads_are_those_of_a_server_that_runs_or_it_is_told_why_not(site: FakeSite) -> None:
    await site.started(1)
    assert await get(site, "/servers/7/threads") == {"error": "That server is not running"}
    process = site.process(1)
    answer = asyncio.create_task(get(site, "/servers/1/threads"))
    await soon()
    process.tells_threads("waitress-0")
    assert [thread["name"] for thread in (await answer)["threads"]] == ["waitress-0"]
    silent = await get(site, "/servers/1/threads")
    assert silent["error"] == f"Process {process.pid} does not answer within 5 s"
    assert "kill -USR1" in silent["hint"]
    await site.end()
    assert await get(site, "/servers/1/threads") == {"error": "That server is not running"}


# Sessions.


async def test_a_session_lasts_until_its_client_goes_away_and_leaves_nothing(site: FakeSite) -> None:
    client = post(site, "/sessions/debug")
    await asyncio.sleep(5)
    (told,) = [event for event in client.events if "session" in event]
    assert told["port"] == site.base + 1
    assert site.conf("debug").exists()
    assert site.supervisor.storage.serves
    assert not site.supervisor.idle
    again = await post(site, "/sessions/debug").answered()
    assert again.last["error"] == "`debug` is at work already in another terminal"
    assert site.conf("debug").exists(), "the first one's"
    await site.started(1)
    await site.ok("stop", targets=["servers", "nginx"])
    client.goes_away()
    await client.answered()
    await asyncio.sleep(1)
    assert not site.conf("debug").exists()
    assert site.supervisor.idle
    assert site.idle
    await site.end()


async def test_the_end_of_a_session_takes_no_storage_from_a_server_that_still_answers(site: FakeSite) -> None:
    client = post(site, "/sessions/debug")
    await soon()
    await site.started(1)
    site.process(1).call.leave_seconds = 100.0
    stop = site.do("stop", targets=["servers", "nginx"])
    await asyncio.sleep(50)
    client.goes_away()
    await client.answered()
    assert site.supervisor.storage.serves
    await stop
    assert site.supervisor.storage.serves, "until it is stopped"
    await site.end()


async def test_a_session_alone_keeps_the_supervisor(site: FakeSite) -> None:
    conf = site.home.zope_conf
    head, _, _ = conf.read_text().partition("<zodb_db main>")
    elsewhere = "  <zeoclient>\n    server localhost:9999\n  </zeoclient>\n"
    conf.write_text(f"%import ZEO\n{head}<zodb_db main>\n  mount-point /\n{elsewhere}</zodb_db>\n")
    client = post(site, "/sessions/debug")
    await soon()
    assert site.supervisor.storage.rests, "the site keeps its own"
    assert not site.supervisor.idle
    client.goes_away()
    await client.answered()
    await soon()
    assert site.supervisor.idle
    await site.end()


async def test_a_session_that_cannot_begin_says_why_and_leaves_nothing(site: FakeSite) -> None:
    unknown = await post(site, "/sessions/party").answered()
    assert (unknown.last["error"], unknown.last["exit"]) == ("Not a kind of session: party", 2)
    taken = await post(site, "/sessions/run").answered()
    assert taken.last["error"].startswith(f"Port {site.base} is taken by ")
    site.machine.storage_works = False
    failed = await post(site, "/sessions/debug").answered()
    assert "Storage did not start" in failed.last["error"]
    assert not site.conf("debug").exists()
    assert site.supervisor.idle
    assert site.supervisor.sessions == set()
    await site.end()
