"""What dies is started again, by ever longer pauses, until it died too often; and storage, which lives so."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeProcess, soon

from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.machine.identity import Identity
from zenwebserver.supervisor.parts import storage as storage_module
from zenwebserver.supervisor.parts.kept_alive import KeptAlive
from zenwebserver.supervisor.parts.state import COMES_BACK, MAY_BECOME, SERVES, State
from zenwebserver.supervisor.parts.storage import START_SECONDS, STOP_SECONDS, Storage, can_connect
from zenwebserver.supervisor.tasks import Tasks

STOP = 2.0  # virtual seconds that it needs to end


class Part(KeptAlive):
    """Boots in `boot_seconds`, or fails so; `born` are its processes, the newest last."""

    def __init__(self) -> None:
        super().__init__("Part", Tasks())
        self.boot_seconds = 0.0
        self.error: Exception | None = None
        self.born: list[FakeProcess] = []
        self.booted_at: list[float] = []
        self.states: list[State] = []
        self.given_up = self.cleared = 0

    async def stop(self) -> None:
        await self._end_recovery()
        self._become(State.STOPPING)
        if process := self.process:
            await asyncio.sleep(STOP)
            await process.end(signal.SIGTERM, STOP)
        self._clear()
        self._become(State.STOPPED)

    async def _boot(self) -> None:
        self.booted_at.append(now())
        process = FakeProcess()
        self.born.append(process)
        try:
            await asyncio.sleep(self.boot_seconds)
            if self.error:
                raise self.error
        except BaseException:
            process.die()
            raise
        self._runs(process)

    def _has_become(self, former: State) -> None:
        self.states.append(self.state)

    def _clear(self) -> None:
        self.cleared += 1
        self.process = None

    async def _given_up(self) -> None:
        self.given_up += 1

    @property
    def newest(self) -> FakeProcess:
        return self.born[-1]

    def living(self) -> list[FakeProcess]:
        return [process for process in self.born if process.running]


def now() -> float:
    return asyncio.get_running_loop().time()


async def started() -> Part:
    part = Part()
    await part.start()
    return part


async def end(part: Part) -> None:
    """It can be stopped whatever was before, and nothing of it is left or comes back."""
    await part.stop()
    assert part.state is State.STOPPED
    assert part.pid is None
    assert part.living() == []
    number = len(part.born)
    await asyncio.sleep(1000)
    assert len(part.born) == number
    assert part.state is State.STOPPED


# Start and stop.


async def test_it_starts_runs_and_stops() -> None:
    part = await started()
    assert (part.state, part.pid) == (State.RUNNING, part.newest.pid)
    assert (part.serves, part.wanted, part.comes_back, part.rests) == (True, True, False, False)
    await end(part)
    assert part.states == [State.STARTING, State.RUNNING, State.STOPPING, State.STOPPED]
    assert (part.serves, part.wanted, part.comes_back, part.rests) == (False, False, False, True)


async def test_one_that_runs_is_not_started_again() -> None:
    part = await started()
    await part.start()
    assert len(part.born) == 1
    await end(part)


async def test_a_start_of_one_that_serves_does_not_end_what_is_under_way_with_it() -> None:
    part = await started()
    part._become(State.EXCHANGING)
    under_way = part._recover(asyncio.sleep(10, "done"))
    await part.start()
    assert await under_way == "done"
    await end(part)


async def test_a_start_that_fails_leaves_it_stopped_with_the_reason() -> None:
    part = Part()
    part.error = ZenwebserverError("no disk")
    with pytest.raises(ZenwebserverError, match="no disk"):
        await part.start()
    assert (part.state, part.reason, part.cleared) == (State.STOPPED, "no disk", 1)
    await asyncio.sleep(1000)
    assert len(part.born) == 1, "what never ran does not come back"


async def test_a_start_that_is_cancelled_leaves_it_stopped() -> None:
    part = Part()
    part.boot_seconds = 10.0
    start = asyncio.create_task(part.start())
    await asyncio.sleep(5)
    assert part.state is State.STARTING
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert part.state is State.STOPPED
    assert part.living() == []


# Deaths.


async def test_a_death_is_noticed_once_and_it_is_back_at_once(caplog: pytest.LogCaptureFixture) -> None:
    part = await started()
    died = part.newest
    died.die("was killed by SIGSEGV")
    await soon()
    assert len(part.born) == 2
    assert (part.state, part.reason, part.pid) == (State.RUNNING, "", part.newest.pid)
    assert part.states[-2:] == [State.REVIVING, State.RUNNING]
    assert caplog.text.count(f"Part, pid {died.pid}, was killed by SIGSEGV") == 1
    await end(part)


async def test_the_pauses_before_it_is_started_again_grow() -> None:
    part = await started()
    deaths = list[float]()
    for _ in range(4):
        deaths.append(now())
        part.newest.die()
        await asyncio.sleep(10)
    assert [round(booted - died, 3) for booted, died in zip(part.booted_at[1:], deaths, strict=True)] == [0, 1, 2, 4]
    assert part.state is State.RUNNING
    assert State.DOWN in part.states, "in a pause, its port refuses"
    await end(part)


async def test_one_that_dies_five_times_in_a_minute_is_given_up_until_an_admin_starts_it() -> None:
    part = await started()
    for _ in range(5):
        part.newest.die("was killed by SIGKILL")
        await asyncio.sleep(9)
    assert part.state is State.FAILED
    assert part.reason == "5 deaths in a minute; the last time it was killed by SIGKILL"
    assert (part.given_up, part.cleared, part.rests, part.wanted) == (1, 1, True, False)
    await asyncio.sleep(1000)
    assert len(part.born) == 5
    await part.start()
    assert (part.state, part.reason) == (State.RUNNING, "")
    part.newest.die()
    await soon()
    assert part.state is State.RUNNING, "its former deaths do not count any more"
    await end(part)


async def test_one_that_dies_now_and_then_is_never_given_up() -> None:
    part = await started()
    for _ in range(20):
        part.newest.die()
        await asyncio.sleep(61)
    assert len(part.born) == 21
    assert part.given_up == 0
    await end(part)


@pytest.mark.parametrize(
    "error", [ZenwebserverError("no disk"), OSError(28, "no disk"), TypeError("a defect: no disk")]
)
async def test_one_that_does_not_come_back_is_tried_again_until_it_is_given_up(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    part = await started()
    part.error = error
    part.newest.die()
    await asyncio.sleep(3.5)
    assert (part.state, part.comes_back, part.wanted) == (State.DOWN, True, True)
    assert "no disk" in part.reason
    await asyncio.sleep(100)
    assert part.state is State.FAILED
    assert "no disk" in part.reason
    assert len(part.born) == 5, "the first, and four tries"
    assert part.given_up == 1
    assert ("Traceback" in caplog.text) == isinstance(error, TypeError), "of a defect, the traceback"
    await end(part)


# A command comes in between.


async def test_a_start_while_it_waits_hurries_it() -> None:
    part = await started()
    for _ in range(3):
        part.newest.die()
        await soon()
        if part.state is State.DOWN:
            break
    assert part.state is State.DOWN
    began = now()
    await part.start()
    assert now() == began
    assert part.state is State.RUNNING
    await asyncio.sleep(100)
    assert len(part.living()) == 1, "nothing else brings it back a second time"
    await end(part)


async def test_a_start_while_it_boots_again_takes_the_place_of_that_boot() -> None:
    part = await started()
    part.boot_seconds = 10.0
    part.newest.die()
    await asyncio.sleep(5)
    await part.start()
    assert part.state is State.RUNNING
    assert len(part.born) == 3
    assert part.living() == [part.newest]
    await end(part)


async def test_a_start_that_fails_while_it_comes_back_does_not_end_its_coming_back() -> None:
    part = await started()
    part.error = OSError("no disk")
    part.newest.die()
    await asyncio.sleep(3.5)
    with pytest.raises(OSError, match="no disk"):
        await part.start()
    assert (part.state, part.reason) == (State.DOWN, "no disk")
    part.error = None
    await asyncio.sleep(2)
    assert part.state is State.RUNNING
    await end(part)


async def test_a_stop_while_it_boots_again_ends_that_boot() -> None:
    part = await started()
    part.boot_seconds = 10.0
    part.newest.die()
    await asyncio.sleep(5)
    assert len(part.living()) == 1
    await end(part)


async def test_a_stop_in_a_pause_ends_it() -> None:
    part = await started()
    for _ in range(2):
        part.newest.die()
        await soon()
    assert part.state is State.DOWN
    await end(part)


async def test_one_that_dies_while_it_is_stopped_does_not_come_back() -> None:
    part = await started()
    asyncio.get_running_loop().call_later(STOP / 2, part.newest.die)
    await end(part)
    assert len(part.born) == 1
    assert State.REVIVING not in part.states


async def test_a_stop_in_the_moment_of_its_death_stops_it() -> None:
    part = await started()
    part.newest.die()  # which nobody has noticed yet
    await end(part)
    assert len(part.born) == 1


async def test_the_death_of_a_former_process_is_none_of_it() -> None:
    part = await started()
    former = part.newest
    part.process = FakeProcess()  # as after an exchange
    part._watch(part.process)
    former.die()
    await soon()
    assert part.state is State.RUNNING
    assert part.pid
    part.process.die()
    await soon()
    assert len(part.born) == 2, "its own is"
    await end(part)


# Transitions.


async def test_a_transition_that_there_is_not_is_refused_and_changes_nothing() -> None:
    for former in State:
        for state in State:
            part = Part()
            part.state, part.reason = former, "as before"
            if state in MAY_BECOME[former]:
                part._become(state, "why")
                assert (part.state, part.reason) == (state, "why")
            else:
                with pytest.raises(RuntimeError, match=f"Part cannot become {state}: it is {former}"):
                    part._become(state)
                assert (part.state, part.reason, part.states) == (former, "as before", [])


def test_whatever_serves_can_die_and_be_stopped_and_whatever_comes_back_can_be_given_up() -> None:
    for state in SERVES:
        assert MAY_BECOME[state] >= {*COMES_BACK, State.STOPPING}
    for state in COMES_BACK:
        assert MAY_BECOME[state] >= {State.RUNNING, State.STARTING, State.STOPPING, State.FAILED}
    assert not MAY_BECOME[State.STOPPED] & {*COMES_BACK, State.FAILED}, "what is stopped does not come back"


# Storage.


class StorageStage:
    """Storage, and its processes that are played; stands in for `Process`, which would make real ones."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = Home(folder)
        self.home.make_folders()
        self.storage = Storage(self.home, Tasks())
        self.storage.python = "/site/bin/python"
        self.born: list[FakeProcess] = []
        self.next: Callable[[FakeProcess], None] = self.answers
        self.adoptable: FakeProcess | None = None
        self.socket: socket.socket | None = None
        monkeypatch.setattr(storage_module, "Process", self)

    def spawn(self, arguments: list[str], *, log: Path, folder: Path, environment: Any) -> FakeProcess:
        assert arguments[0] == "/site/bin/python"
        assert str(self.home.storage_conf) in arguments[2]
        assert log == self.home.storage_log
        self.born.append(FakeProcess())
        self.next(self.born[-1])
        return self.born[-1]

    def adopt(self, _: Identity) -> FakeProcess | None:
        return self.adoptable

    def answers(self, process: FakeProcess, seconds: float = 1.0) -> None:
        asyncio.get_running_loop().call_later(seconds, self._listen, process)

    def _listen(self, process: FakeProcess) -> None:
        self.home.storage_socket.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(self.home.storage_socket))
        self.socket.listen()
        process.exited.add_done_callback(lambda _: self._close())

    def _close(self) -> None:
        if self.socket:
            self.socket.close()

    def nothing_is_left(self) -> bool:
        pid_file = self.home.pid_file("storage")
        return not any(process.running for process in self.born) and not pid_file.exists()


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StorageStage:
    return StorageStage(tmp_path, monkeypatch)


async def test_storage_runs_when_its_socket_takes_connections_and_only_its_owner_can_connect(
    stage: StorageStage,
) -> None:
    began = now()
    await stage.storage.start()
    assert now() - began == pytest.approx(1.0, abs=0.1)
    assert stage.storage.state is State.RUNNING
    assert stat.S_IMODE(stage.home.storage_socket.stat().st_mode) == 0o600
    assert stage.home.pid_file("storage").read_text() == f"{stage.born[0].pid}\n"
    await stage.storage.stop()
    assert stage.born[0].signals == [signal.SIGTERM]
    assert stage.nothing_is_left()
    await stage.storage.stop()
    assert stage.storage.state is State.STOPPED


async def test_storage_that_ends_while_it_starts_is_told_with_its_log(stage: StorageStage) -> None:
    stage.home.storage_log.write_text("of an earlier one\n")

    def fails(process: FakeProcess) -> None:
        stage.home.storage_log.write_text("of an earlier one\nZODB.POSException: locked\n")
        process.die("ended with exit code 1")

    stage.next = fails
    with pytest.raises(ZenwebserverError, match="Storage did not start: it ended with exit code 1") as caught:
        await stage.storage.start()
    assert caught.value.detail == "ZODB.POSException: locked"
    assert str(stage.home.storage_log) in caught.value.hint
    assert stage.nothing_is_left()


async def test_storage_that_does_not_answer_is_killed_and_that_is_told(stage: StorageStage) -> None:
    stage.next = lambda _: None
    began = now()
    with pytest.raises(ZenwebserverError, match="it does not answer after 60 s"):
        await stage.storage.start()
    assert now() - began == pytest.approx(START_SECONDS, abs=0.1)
    assert stage.nothing_is_left()


async def test_storage_whose_socket_is_removed_while_it_starts_leaves_no_process(
    stage: StorageStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_module, "can_connect", lambda _: True)
    stage.next = lambda _: None
    with pytest.raises(FileNotFoundError):
        await stage.storage.start()
    assert stage.nothing_is_left()


async def test_storage_that_does_not_hear_is_killed_when_it_is_stopped(stage: StorageStage) -> None:
    await stage.storage.start()
    stage.born[0].ignores.add(signal.SIGTERM)
    began = now()
    await stage.storage.stop()
    assert now() - began == pytest.approx(STOP_SECONDS)
    assert stage.born[0].signals == [signal.SIGTERM, signal.SIGKILL]
    assert stage.nothing_is_left()


async def test_storage_that_dies_is_started_again(stage: StorageStage) -> None:
    await stage.storage.start()
    stage.born[0].die()
    await asyncio.sleep(2)
    assert stage.storage.state is State.RUNNING
    assert stage.storage.pid == stage.born[1].pid
    await stage.storage.stop()
    assert stage.nothing_is_left()


async def test_an_earlier_supervisors_storage_is_adopted_if_it_lives(
    stage: StorageStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.storage.adopt()
    assert stage.storage.state is State.STOPPED, "no pid file"
    monkeypatch.setattr(Identity, "read", lambda _: Identity(1, 1))
    monkeypatch.setattr(Identity, "works_in", lambda *_: False)
    stage.storage.adopt()
    assert stage.storage.state is State.STOPPED, "it is of the home that this one is a copy of"
    monkeypatch.setattr(Identity, "works_in", lambda *_: True)
    stage.storage.adopt()
    assert stage.storage.state is State.STOPPED, "it ended meanwhile"
    stage.adoptable = FakeProcess()
    stage.storage.adopt()
    assert (stage.storage.state, stage.storage.pid) == (State.RUNNING, stage.adoptable.pid)
    await stage.storage.stop()
    assert not stage.adoptable.running


@pytest.fixture
def stuck(tmp_path: Path) -> Iterator[Path]:
    """A Unix socket that listens, and whose process accepts nothing: its queue is full."""
    path = tmp_path / "stuck.sock"
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as waiting:
        listener.bind(str(path))
        listener.listen(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                visitor = waiting.enter_context(socket.socket(socket.AF_UNIX))
                visitor.setblocking(False)
                visitor.connect(str(path))
        yield path


@pytest.mark.timeout(10)
def test_a_socket_whose_queue_is_full_cannot_be_connected_to_and_nobody_waits_for_it(stuck: Path) -> None:
    assert not can_connect(str(stuck))
    assert not can_connect(str(stuck.parent / "nothing.sock"))
