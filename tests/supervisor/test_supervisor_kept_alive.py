"""What dies is started again, by ever longer pauses, until it died too often; or for ever."""

from __future__ import annotations

import asyncio
import signal

import pytest
from fakes import FakeProcess, soon

from zenwebserver.errors import ZenwebserverError
from zenwebserver.supervisor.parts.kept_alive import KeptAlive
from zenwebserver.supervisor.parts.state import COMES_BACK, MAY_BECOME, SERVES, State
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
