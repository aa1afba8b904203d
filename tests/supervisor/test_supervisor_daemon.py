"""The life of the supervisor's process, in a home where nothing runs; operations and successors are played."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import Asked, ask
from fakes import FakeProcess, soon, takes_connections
from short_home import short_home

from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.machine.identity import Identity
from zenwebserver.machine.unix_sockets import listen_on
from zenwebserver.supervisor import api, daemon
from zenwebserver.supervisor.daemon import Daemon
from zenwebserver.supervisor.lock import Lock
from zenwebserver.supervisor.parts.state import State
from zenwebserver.supervisor.report import Report
from zenwebserver.supervisor.supervisor import Supervisor


@pytest.fixture
def home() -> Iterator[Home]:
    with short_home() as home:
        yield home


class Played:
    """An operation that lasts until it `may_end`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.may_end = asyncio.Event()
        self.supervisors: list[Supervisor] = []  # that have done it
        self._name = name
        monkeypatch.setitem(api.OPERATIONS, name, self._operation)

    async def _operation(self, supervisor: Supervisor, report: Report) -> str:
        self.supervisors.append(supervisor)
        with report.step(self._name):
            await self.may_end.wait()
        return self._name

    async def asked(self, home: Home) -> Asked:
        asked = await ask(home.control_socket, "POST", f"/operations/{self._name}")
        assert await asked.status() == 200
        await asked.line()  # it has begun, or waits
        return asked


class PlayedSuccessor:
    """Takes over when it `may`; fails where there is an error."""

    pid = 1

    def __init__(self) -> None:
        self.may_take_over = asyncio.Event()
        self.error: Exception | None = None
        self.signals: list[int] = []
        self.ended = self.left = False

    def start(self, *_: Any) -> PlayedSuccessor:
        return self

    async def loads(self) -> None:
        pass

    async def takes_over(self) -> None:
        await self.may_take_over.wait()
        if self.error:
            raise self.error

    def send(self, number: int) -> None:
        self.signals.append(number)

    async def end(self) -> None:
        self.ended = True

    def leave(self) -> None:
        self.left = True


@pytest.fixture
def successor(monkeypatch: pytest.MonkeyPatch) -> PlayedSuccessor:
    successor = PlayedSuccessor()
    monkeypatch.setattr(daemon, "Successor", successor)
    return successor


@contextlib.asynccontextmanager
async def begun(home: Home) -> AsyncIterator[Daemon]:
    lock = Lock.take(home)
    it = Daemon(home, lock)
    try:
        await it.begin()
        yield it
    finally:
        await it.end()
        lock.release()


async def last_event(asked: Asked) -> dict[str, Any]:
    return (await asked.events())[-1]


async def status(home: Home) -> dict[str, Any]:
    code, text = await (await ask(home.control_socket, "GET", "/status")).answer()
    assert code == 200
    found: dict[str, Any] = json.loads(text)
    return found


async def reached(what: str, holds: Any) -> None:
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.1)
    raise AssertionError(what)


# The beginning.


def test_what_started_it_has_handed_on_a_right_that_it_does_not_hand_on_to_everybody(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(daemon, "configure_logging", lambda _: done.append("logs"))
    monkeypatch.setattr(daemon.privileges, "become_owner_of", lambda _: done.append("becomes the owner"))
    monkeypatch.setattr(daemon.privileges, "keep_low_ports_to_ourselves", lambda: done.append("keeps low ports"))
    daemon.prepare(home, None).release()
    assert done == ["becomes the owner", "keeps low ports", "logs"]


# The end.


async def test_when_nothing_is_left_it_ends_and_leaves_nothing_behind(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = Played(monkeypatch, "stop")
    async with begun(home) as it:
        assert Identity.read(home.pid_file("supervisor")) == Identity.of(os.getpid())
        asked = await stop.asked(home)
        assert not it.ended.is_set()
        stop.may_end.set()
        assert await last_event(asked) == {"done": "stop", "exit": 0}
        assert not home.control_socket.exists(), "whoever has the answer can start the next one"
        assert it.ended.is_set()
    assert list(home.run.iterdir()) == []


async def test_a_start_that_waits_while_stop_runs_gets_its_turn_in_the_same_supervisor(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, start = Played(monkeypatch, "stop"), Played(monkeypatch, "start")
    async with begun(home) as it:
        stopping, starting = await stop.asked(home), await start.asked(home)
        stop.may_end.set()
        assert (await last_event(stopping))["done"] == "stop"
        assert not it.ended.is_set()
        assert home.control_socket.exists()
        await asyncio.sleep(1)
        assert len(start.supervisors) == 1
        start.may_end.set()
        assert (await last_event(starting))["done"] == "start"
        assert it.ended.is_set()


async def test_one_that_was_accepted_but_has_not_said_all_keeps_the_supervisor_from_ending(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, start = Played(monkeypatch, "stop"), Played(monkeypatch, "start")
    async with begun(home) as it:
        stopping = await stop.asked(home)
        reader, writer = await asyncio.open_unix_connection(home.control_socket)
        writer.write(b"POST /operations/start HTTP/1.1\r\nHost: home\r\nConnection: close\r\nContent-Length: 2\r\n\r\n")
        await asyncio.sleep(0.1)
        stop.may_end.set()
        assert (await last_event(stopping))["done"] == "stop"
        assert not it.ended.is_set()
        writer.write(b"{}")
        start.may_end.set()
        assert (await last_event(Asked(reader, writer)))["done"] == "start"
        assert it.ended.is_set()


async def test_whoever_asks_when_the_end_is_decided_is_sent_on_to_the_next_supervisor(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = Played(monkeypatch, "stop")
    stop.may_end.set()
    async with begun(home) as it:
        reader, writer = await asyncio.open_unix_connection(home.control_socket)
        await (await stop.asked(home)).rest()
        assert it.ended.is_set()
        writer.write(b"POST /operations/stop HTTP/1.1\r\nHost: home\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        late = Asked(reader, writer)
        assert await late.status() == 503
        assert (await last_event(late))["again"] is True
        assert len(stop.supervisors) == 1


async def test_a_change_whose_command_went_away_keeps_the_supervisor_until_it_is_done(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = Played(monkeypatch, "stop")
    async with begun(home) as it:
        (await stop.asked(home)).hang_up()
        await asyncio.sleep(1)
        assert not it.ended.is_set()
        stop.may_end.set()
        await it.ended.wait()


async def test_a_signal_means_stop_and_a_second_one_changes_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = Played(monkeypatch, "stop")
    async with begun(home) as it:
        it.stop()
        await asyncio.sleep(0.1)
        it.stop()
        await asyncio.sleep(0.1)
        stop.may_end.set()
        await it.ended.wait()
        assert len(stop.supervisors) == 1


async def test_a_signal_that_comes_while_it_begins_is_obeyed_once_it_has(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = Played(monkeypatch, "stop")
    stop.may_end.set()
    lock = Lock.take(home)
    it = Daemon(home, lock)
    it.stop()
    await it.begin()
    await it.ended.wait()
    await it.end()
    lock.release()
    assert len(stop.supervisors) == 1


# The beginning.


@pytest.mark.parametrize("error", [ZenwebserverError("a mistake"), OSError("a disk"), ValueError("no UTF-8")])
async def test_settings_that_cannot_be_read_do_not_keep_it_from_beginning(
    home: Home, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def read(_: Supervisor) -> None:
        raise error

    monkeypatch.setattr(Supervisor, "read_settings", read)
    home.settings_file.touch()
    async with begun(home):
        assert (await status(home))["change"] == ""


async def test_where_its_pid_file_cannot_be_written_it_goes_on_without(home: Home) -> None:
    home.pid_file("supervisor").mkdir()
    async with begun(home):
        await status(home)
        await asyncio.sleep(10)
        await status(home)


async def test_a_beginning_that_fails_leaves_nothing_behind(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    async def adopt(_: Supervisor) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(daemon, "adopt", adopt)
    with pytest.raises(RuntimeError):
        async with begun(home):
            pass
    assert list(home.run.iterdir()) == []


# Whatever is deleted.


async def test_what_is_deleted_of_var_run_is_there_again_within_a_second_or_so(home: Home) -> None:
    async with begun(home) as it:
        storage = FakeProcess()
        it._supervisor.storage.process, it._supervisor.storage.state = storage, State.RUNNING
        shutil.rmtree(home.run)
        await asyncio.sleep(1.5)
        await status(home)
        assert home.workers_socket.is_socket()
        assert home.run.stat().st_mode & 0o777 == 0o700
        assert Identity.read(home.pid_file("supervisor")) == Identity.of(os.getpid())
        assert home.pid_file("storage").exists()


async def test_storage_whose_socket_is_deleted_is_ended_once_so_that_it_comes_back_with_one(home: Home) -> None:
    async with begun(home) as it:
        storage = FakeProcess()
        storage.ignores.add(15)
        it._supervisor.storage.process, it._supervisor.storage.state = storage, State.RUNNING
        listener = listen_on(home.storage_socket)
        await asyncio.sleep(5)
        assert storage.signals == []
        home.storage_socket.unlink()
        await asyncio.sleep(5)
        assert storage.signals == [15]
        listener.close()
        it._supervisor.storage.state = State.STOPPED


async def test_sockets_that_another_process_has_put_there_are_replaced(home: Home) -> None:
    async with begun(home):
        with listen_on(home.control_socket), listen_on(home.workers_socket) as stranger:
            await asyncio.sleep(1.5)
            await status(home)
            _, writer = await asyncio.open_unix_connection(home.workers_socket)
            await asyncio.sleep(0.1)
            with pytest.raises(BlockingIOError):
                stranger.accept()
            writer.close()


async def test_in_a_home_that_was_removed_nothing_is_made(home: Home) -> None:
    async with begun(home):
        shutil.rmtree(home.path)
        await asyncio.sleep(10)
        assert not home.path.exists()
        home.make_folders()
        await asyncio.sleep(1.5)
        await status(home)


async def test_a_home_that_was_moved_away_is_noticed_once_and_where_it_went(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    moved = home.path.with_name(f"{home.path.name}m")
    async with begun(home):
        for _ in range(2):
            home.path.rename(moved)
            await asyncio.sleep(5)
            moved.rename(home.path)
            await asyncio.sleep(2)
        said = f"{home.path} was moved to {moved}: what runs goes on, and what dies does not come back"
        assert [record.getMessage() for record in caplog.records if "was moved" in record.getMessage()] == [said] * 2
        await status(home)


async def test_a_command_that_looks_whether_a_supervisor_holds_the_home_is_not_taken_for_one(home: Home) -> None:
    async with begun(home) as it:
        home.etc.rename(home.path / "etc.away")
        home.etc.mkdir()
        command = Lock.take(home)
        await asyncio.sleep(1.5)
        command.release()
        await asyncio.sleep(5)
        assert not it.ended.is_set()
        assert it._lock.is_of_home
        await status(home)


async def test_the_control_socket_of_one_whose_end_is_decided_is_not_made_anew(home: Home) -> None:
    async with begun(home) as it:
        it._control.take_away()
        await asyncio.sleep(4)  # whoever it still answers takes so long
        assert not home.control_socket.exists(), "a command would ask it, and be sent on again and again"


async def test_where_another_supervisor_holds_the_home_that_was_put_in_its_place_this_one_ends(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    async with begun(home) as it:
        home.etc.rename(home.path / "etc.away")
        home.etc.mkdir()
        other = Lock.take(home)
        successor = listen_on(home.control_socket)
        await asyncio.sleep(5)
        assert it.ended.is_set()
        other.release()
        await asyncio.sleep(5)
    assert home.control_socket.is_socket()
    successor.close()
    assert "begun again" not in caplog.text


# Succession.


async def test_once_its_successor_has_taken_over_it_ends_and_leaves_what_is_the_successors(
    home: Home, successor: PlayedSuccessor
) -> None:
    async with begun(home) as it:
        asked = await ask(home.control_socket, "POST", "/upgrade", "{}")
        await reached("it has let go", lambda: not it._at_work)
        theirs = [listen_on(home.control_socket), listen_on(home.workers_socket)]
        Identity(1, 0).write(home.pid_file("supervisor"))
        successor.may_take_over.set()
        assert await last_event(asked) == {"done": "Upgraded", "exit": 0}
        await it.ended.wait()
    assert (successor.left, successor.ended, successor.signals) == (True, False, [])
    assert home.control_socket.is_socket()
    assert home.workers_socket.is_socket()
    assert home.pid_file("supervisor").exists()
    for each in theirs:
        each.close()


@pytest.mark.parametrize("error", [ZenwebserverError("it died"), RuntimeError("a defect")])
async def test_where_its_successor_fails_it_says_why_and_begins_again(
    home: Home, successor: PlayedSuccessor, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    stop = Played(monkeypatch, "stop")
    successor.error = error
    async with begun(home) as it:
        former = it._supervisor
        # So that it does not end for having nothing to do.
        monkeypatch.setattr(Supervisor, "idle", property(lambda self: self in stop.supervisors))
        asked = await ask(home.control_socket, "POST", "/upgrade", "{}")
        await reached("it has let go", lambda: not it._at_work)
        assert not home.workers_socket.is_socket() or it._supervisor is former
        theirs = listen_on(home.control_socket)  # the successor got so far
        theirs.close()
        successor.may_take_over.set()
        last = await last_event(asked)
        assert last["exit"] == 1
        assert str(error) in last["error"] + last["detail"]
        assert successor.ended
        assert not it.ended.is_set()
        await status(home)
        stop.may_end.set()
        assert (await last_event(await stop.asked(home)))["done"] == "stop"
        assert stop.supervisors == [it._supervisor] != [former]
        await it.ended.wait()


async def test_where_its_successor_fails_the_port_of_a_server_that_dies_then_does_not_go_on_listening(
    home: Home, successor: PlayedSuccessor
) -> None:
    successor.error = ZenwebserverError("it died")
    async with begun(home) as it:
        former = it._supervisor
        listener = socket.create_server(("127.0.0.1", 0))
        address = listener.getsockname()
        former.server(1)._listener.adopt(listener)
        asked = await ask(home.control_socket, "POST", "/upgrade", "{}")
        await reached("it has let go", lambda: not it._at_work)
        await soon()
        assert not takes_connections(address), "nobody but a process that accepts has it"
        successor.may_take_over.set()
        assert (await last_event(asked))["exit"] == 1
        assert it._supervisor is not former


@pytest.mark.parametrize("fails", [False, True])
async def test_whoever_waits_while_supervisors_are_exchanged_asks_again_and_whoever_comes_then_is_done_or_sent_on(
    home: Home, successor: PlayedSuccessor, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    start = Played(monkeypatch, "start")
    start.may_end.set()
    successor.error = ZenwebserverError("it died") if fails else None
    loads = asyncio.Event()
    monkeypatch.setattr(successor, "loads", loads.wait)
    async with begun(home) as it:
        monkeypatch.setattr(Supervisor, "idle", False)
        upgrading = await ask(home.control_socket, "POST", "/upgrade", "{}")
        await upgrading.status()
        waiting = await start.asked(home)
        loads.set()
        await reached("it has let go", lambda: not it._at_work)
        coming = await ask(home.control_socket, "POST", "/operations/start")
        await status(home)
        assert (await last_event(waiting))["again"] is True
        assert start.supervisors == []
        successor.may_take_over.set()
        if fails:
            assert await coming.status() == 200
            assert (await last_event(coming))["done"] == "start"
            assert start.supervisors == [it._supervisor]
        else:
            ending = asyncio.create_task(it.end())  # as `live` does when it has ended
            assert await coming.status() == 503
            assert (await last_event(coming))["again"] is True
            await ending
        assert (await last_event(upgrading))["exit"] == int(fails)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_signal_that_comes_while_supervisors_are_exchanged_is_obeyed_by_the_one_that_lives(
    home: Home, successor: PlayedSuccessor, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    stop = Played(monkeypatch, "stop")
    stop.may_end.set()
    successor.error = ZenwebserverError("it died") if fails else None
    async with begun(home) as it:
        asked = await ask(home.control_socket, "POST", "/upgrade", "{}")
        await reached("it has let go", lambda: not it._at_work)
        it.stop()
        successor.may_take_over.set()
        await asked.events()
        await it.ended.wait()
    assert stop.supervisors == ([it._supervisor] if fails else [])
    assert successor.signals == ([] if fails else [15])


async def test_it_begins_again_however_often_that_fails(
    home: Home, successor: PlayedSuccessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    successor.error = ZenwebserverError("it died")
    async with begun(home) as it:
        monkeypatch.setattr(Supervisor, "idle", False)
        asked = await ask(home.control_socket, "POST", "/upgrade", "{}")
        await reached("it has let go", lambda: not it._at_work)
        shutil.rmtree(home.run)
        successor.may_take_over.set()
        await asyncio.sleep(30)
        assert not it._at_work
        home.make_folders()
        assert (await last_event(asked))["exit"] == 1
        await status(home)


async def test_where_the_home_was_moved_away_no_successor_is_started(home: Home, successor: PlayedSuccessor) -> None:
    async with begun(home) as it:
        moved = home.path.rename(home.path.with_name(home.path.name + "m"))
        command = asyncio.create_task(ask(moved / home.control_socket.relative_to(home.path), "POST", "/upgrade", "{}"))
        last = await last_event(await command)
        assert f"was moved to {moved} while it ran" in last["error"]
        assert it._at_work
        assert not home.path.exists()
        assert (successor.ended, successor.left) == (False, False)
        moved.rename(home.path)


async def test_a_session_in_a_terminal_keeps_its_supervisor(home: Home, successor: PlayedSuccessor) -> None:
    async with begun(home) as it:
        it._supervisor.sessions.add("debug")
        last = await last_event(await ask(home.control_socket, "POST", "/upgrade", "{}"))
        assert last["exit"] == 1
        assert "`debug` is at work" in last["error"]
        assert not successor.ended
        it._supervisor.sessions.clear()


# A command of an earlier version: it asks without a word, and starts its supervisor when the file it knows is free.


def may_be_locked(file: Path) -> bool:
    with file.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


async def test_for_an_earlier_version_it_makes_room_and_that_waits_until_it_has_ended(home: Home) -> None:
    async with begun(home) as it:
        assert await (await ask(home.control_socket, "POST", "/upgrade")).answer() == (200, "{}")
        assert it.ended.is_set()
        assert not home.control_socket.exists(), "whoever asks now starts the next one"
        assert not may_be_locked(home.former_lock_file)
    assert may_be_locked(home.former_lock_file)


async def test_an_earlier_version_that_has_given_up_waiting_does_not_end_it(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Supervisor, "idle", False)
    async with begun(home) as it:
        async with it._supervisor.changes.make("restart"):
            asked = await ask(home.control_socket, "POST", "/upgrade")
            await asyncio.sleep(10)
            asked.hang_up()
            await asyncio.sleep(1)
        await asyncio.sleep(1)
        assert not it.ended.is_set(), "nobody would start the next one"


async def test_for_an_earlier_version_a_session_in_a_terminal_keeps_its_supervisor(home: Home) -> None:
    async with begun(home) as it:
        it._supervisor.sessions.add("debug")
        await (await ask(home.control_socket, "POST", "/upgrade")).answer()
        assert not it.ended.is_set()
        assert not may_be_locked(home.former_lock_file), "it would start a second one"
        it._supervisor.sessions.clear()
