"""A release's life: one zygote at a time, whatever dies, hangs or fails; servers are forked from it or start alone."""

from __future__ import annotations

import asyncio
import itertools
import signal
import stat
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import ENDED, FakeCall, FakeProcess, soon

from zenwebserver.home import Home
from zenwebserver.machine.identity import Identity
from zenwebserver.settings import parse
from zenwebserver.supervisor.line import launch
from zenwebserver.supervisor.line.reception import Reception
from zenwebserver.supervisor.line.worker import StartError, Worker
from zenwebserver.supervisor.parts import forks as forks_module
from zenwebserver.supervisor.parts import release as release_module
from zenwebserver.supervisor.parts.forks import CALL_SECONDS, FORK_SECONDS
from zenwebserver.supervisor.parts.release import (
    END_SECONDS,
    MAY_BECOME,
    Release,
    ReleaseState,
)
from zenwebserver.supervisor.tasks import Tasks
from zenwebserver.worker.messages import (
    VERSION,
    Forked,
    Order,
    OrderName,
    ServerSpec,
    Standing,
    WorkerState,
    ZygoteSpec,
    decode,
)

LOAD = 3.0  # virtual seconds that a zygote takes
BROKEN = "Traceback (most recent call last):\nValueError: broken"


class FakeZygote(FakeCall):
    """Loads, and forks when it is told."""

    def __init__(self, stage: Stage, standing: Standing) -> None:
        super().__init__(FakeProcess(), standing)
        self.stage = stage
        self.fork: Callable[[ServerSpec], None] = self.forks
        self.specs: list[ServerSpec] = []

    def loads(self, seconds: float = LOAD) -> None:
        asyncio.get_running_loop().call_later(seconds, self.says, WorkerState.READY)

    def ends(self, state: WorkerState, reason: str) -> None:
        self.says(state, reason)
        asyncio.get_running_loop().call_soon(self.process.die, "ended with exit code 1")

    def obey(self, order: Order, _: object) -> None:
        if self.standing.version == 0:
            self.process.die("ended with exit code 1")  # as one of before there were versions does
        elif order.order is OrderName.FORK and order.server:
            self.specs.append(order.server)
            asyncio.get_running_loop().call_soon(self.fork, order.server)

    def forks(self, spec: ServerSpec) -> None:
        if self.process.running:
            self.answers(spec, self.born(spec))

    def born(self, spec: ServerSpec) -> FakeProcess:
        """A server, which says at once that it is ready."""
        process = self.stage.server_process(spec)
        standing = Standing(WorkerState.READY, token=spec.token, server=spec.server, version=VERSION)
        self.stage.reception.answer(FakeCall(process, standing))
        return process

    def answers(self, spec: ServerSpec, process: FakeProcess) -> None:
        self.hear(replace(self.standing, forked=Forked(spec.token, pid=process.pid)))

    def cannot(self, spec: ServerSpec) -> None:
        failure = "could not be forked: Resource temporarily unavailable"
        self.hear(replace(self.standing, forked=Forked(spec.token, failure=failure)))


class Stage:
    """A release, and the processes of it that are played; it stands in for `Process`, which would make real ones."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = Home(folder)
        self.home.make_folders()
        self.settings = parse("warmupPaths /front", folder)
        self.tasks = Tasks()
        self.reception = Reception()
        self.reception.adopted()
        self.zygotes: list[FakeZygote] = []
        self.servers: list[FakeProcess] = []
        self.ordinary: list[ServerSpec] = []
        self.next: Callable[[FakeZygote], None] = lambda zygote: zygote.loads()
        for module in (release_module, forks_module):
            monkeypatch.setattr(module, "Process", self)
        self.release = Release("1", self.home, self.reception, self.tasks)

    def spawn(self, arguments: Sequence[str], *, log: Path, folder: Path, environment: Any) -> FakeProcess:
        assert arguments[:2] == [str(self.settings.python), str(launch.WORKER)]
        assert environment["ZENHOME"] == str(folder) == str(self.home.path)
        if '"zygote"' not in arguments[2]:
            spec = decode(ServerSpec, arguments[2])
            assert log == self.home.server_log(spec.server)
            self.ordinary.append(spec)
            return self.server_process(spec)
        assert log == self.home.zygote_log
        told = decode(ZygoteSpec, arguments[2])
        zygote = FakeZygote(self, Standing(WorkerState.STARTING, token=told.token, zygote=told.zygote, version=VERSION))
        self.zygotes.append(zygote)
        asyncio.get_running_loop().call_soon(self.reception.answer, zygote)
        self.next(zygote)
        return zygote.process

    def server_process(self, _: ServerSpec) -> FakeProcess:
        self.servers.append(FakeProcess())
        return self.servers[-1]

    def __call__(self, identity: Identity) -> FakeProcess:
        """The forked process of that pid."""
        return next(process for process in self.servers if process.pid == identity.pid and process.running)

    @property
    def zygote(self) -> FakeZygote:
        return self.zygotes[-1]

    @property
    def conf(self) -> Path:
        return self.home.pool_folder / "release1.conf"

    async def boot(self) -> None:
        await self.release.boot(self.settings, "the site's")

    async def launch(self, name: str = "1", *, warm_up: bool = True) -> Worker:
        return await self.release.launch(self.settings, name, warm_up=warm_up)

    async def launch_four(self) -> list[Worker | BaseException]:
        return await asyncio.gather(*(self.launch(name) for name in "1234"), return_exceptions=True)

    def living_zygotes(self) -> list[FakeZygote]:
        return [zygote for zygote in self.zygotes if zygote.process.running]

    def earlier_zygote(self, version: int = VERSION) -> tuple[FakeZygote, Worker]:
        """One that an earlier supervisor left, called again and was adopted."""
        zygote = FakeZygote(self, Standing(WorkerState.READY, zygote="1", version=version))
        return zygote, self.reception.adopt(zygote, zygote.process, self.home.zygote_log)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


async def end(stage: Stage) -> None:
    """It can be ended whatever was before, and nothing of it is left."""
    await stage.release.end()
    await soon()
    assert stage.release.state is ReleaseState.ENDED
    assert stage.living_zygotes() == []
    assert not stage.conf.exists()
    assert not stage.home.pid_file("zygote1").exists()


def now() -> float:
    return asyncio.get_running_loop().time()


# From a boot to an end.


async def test_a_zygote_loads_the_site_once_and_servers_are_forked_from_it(stage: Stage) -> None:
    await stage.boot()
    assert stage.release.state is ReleaseState.WARM
    assert stage.release.forks
    assert stage.conf.read_text() == "the site's"
    assert stat.S_IMODE(stage.conf.stat().st_mode) == 0o600, "it holds whatever secrets zope.conf holds"
    assert stage.home.pid_file("zygote1").read_text() == f"{stage.zygote.pid}\n"
    workers = [await stage.launch("1"), await stage.launch("2", warm_up=False)]
    assert [worker.process for worker in workers] == stage.servers
    assert [worker.state for worker in workers] == [WorkerState.READY, WorkerState.READY]
    assert [spec.token for spec in stage.zygote.specs] == [worker.token for worker in workers]
    assert [(spec.server, spec.release) for spec in stage.zygote.specs] == [("1", "1"), ("2", "1")]
    assert [spec.warmup_paths for spec in stage.zygote.specs] == [("/front",), ()]
    assert [order.log for order in stage.zygote.told] == [str(stage.home.server_log(name)) for name in "12"]
    assert len(stage.zygotes) == 1
    assert stage.ordinary == []
    await end(stage)
    assert stage.zygote.process.signals == [signal.SIGTERM]
    assert all(server.running for server in stage.servers), "servers are not its own"


async def test_the_end_kills_a_zygote_that_does_not_hear_and_may_come_twice(stage: Stage) -> None:
    await stage.boot()
    stage.zygote.process.ignores.add(signal.SIGTERM)
    began = now()
    await end(stage)
    assert now() - began == pytest.approx(END_SECONDS, abs=0.1)
    assert stage.zygote.process.signals == [signal.SIGTERM, signal.SIGKILL]
    await end(stage)


async def test_where_it_is_not_to_be_preloaded_each_server_loads_the_site_by_itself(stage: Stage) -> None:
    stage.settings = replace(stage.settings, preload="off")
    await stage.boot()
    assert stage.release.state is ReleaseState.ORDINARY
    assert not stage.release.warm
    assert stage.release.why_ordinary == "", "it was asked for"
    worker = await stage.launch()
    assert stage.zygotes == []
    (spec,) = stage.ordinary
    assert (spec.server, spec.release, spec.token) == ("1", "1", worker.token)
    assert spec.warmup_paths == ("/front",)
    await end(stage)


async def test_where_forking_is_unsafe_each_server_loads_the_site_by_itself_and_why_is_known(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.next = lambda zygote: zygote.ends(WorkerState.UNSAFE, "loading the site started the thread x")
    await stage.boot()
    assert stage.release.state is ReleaseState.ORDINARY
    assert stage.release.why_ordinary == "loading the site started the thread x"
    assert "start the ordinary way: loading the site started the thread x" in caplog.text
    assert stage.living_zygotes() == []
    await stage.launch()
    assert len(stage.ordinary) == 1
    await end(stage)


@pytest.mark.parametrize(
    ("fails", "seconds"),
    [
        (lambda zygote: zygote.ends(WorkerState.FAILED, BROKEN), 1.0),
        (lambda zygote: zygote.process.die(), 1.0),
        (lambda _: None, 301.0),
    ],
    ids=["broken", "killed", "hangs"],
)
async def test_a_first_load_that_fails_leaves_no_process_and_no_file(
    stage: Stage, fails: Callable[[FakeZygote], None], seconds: float
) -> None:
    began = now()
    stage.next = fails
    with pytest.raises(StartError, match=r"^the site could not be loaded: it ") as caught:
        await stage.boot()
    assert now() - began <= seconds
    assert stage.release.state is ReleaseState.ENDED
    assert not stage.conf.exists()
    assert str(stage.home.zygote_log) in caught.value.hint
    assert stage.living_zygotes() == []
    await end(stage)
    assert list(stage.home.run.iterdir()) == []


async def test_a_load_that_fails_is_told_with_the_sites_traceback(stage: Stage) -> None:
    stage.next = lambda zygote: zygote.ends(WorkerState.FAILED, BROKEN)
    with pytest.raises(StartError, match="it ended with exit code 1: ValueError: broken") as caught:
        await stage.boot()
    assert caught.value.detail == BROKEN


async def test_a_first_load_that_cannot_even_begin_leaves_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> FakeProcess:
        raise FileNotFoundError(2, "No such file or directory", "/gone/bin/python")

    monkeypatch.setattr(stage, "spawn", fail)
    with pytest.raises(StartError, match=r"the site could not be loaded: .*/gone/bin/python"):
        await stage.boot()
    assert stage.reception._expected == {}
    await end(stage)


async def test_a_boot_that_is_cancelled_kills_what_loads(stage: Stage) -> None:
    boot = asyncio.create_task(stage.boot())
    await asyncio.sleep(LOAD / 2)
    assert stage.release.state is ReleaseState.LOADING
    boot.cancel()
    with pytest.raises(asyncio.CancelledError):
        await boot
    await end(stage)


async def test_an_end_while_it_boots_is_told_to_whoever_boots_it(stage: Stage) -> None:
    boot = asyncio.create_task(stage.boot())
    await asyncio.sleep(LOAD / 2)
    await end(stage)
    with pytest.raises(StartError, match="release 1 has ended"):
        await boot


async def test_an_end_while_it_loads_kills_what_loads_and_who_waits_is_told(stage: Stage) -> None:
    await stage.boot()
    stage.zygote.process.die()
    await soon()
    launches = asyncio.create_task(stage.launch_four())
    await asyncio.sleep(LOAD / 2)
    await end(stage)
    assert len(stage.zygotes) == 2
    assert [str(result) for result in await launches] == ["could not be started: release 1 has ended"] * 4
    with pytest.raises(StartError, match="release 1 has ended"):
        await stage.launch()
    assert stage.servers == []


# Its zygote dies, hangs, or cannot fork.


async def test_zygote_and_four_servers_killed_at_once_take_one_new_zygote(stage: Stage) -> None:
    await stage.boot()
    for worker in await stage.launch_four():
        assert isinstance(worker, Worker)
        worker.process.die()  # type: ignore[attr-defined]
    stage.zygote.process.die()
    await soon()
    assert stage.release.state is ReleaseState.COLD
    assert stage.release.warm
    assert not stage.release.forks
    workers = await stage.launch_four()
    assert len(stage.zygotes) == 2
    assert sorted(spec.server for spec in stage.zygote.specs) == list("1234")
    assert all(isinstance(worker, Worker) and worker.state is WorkerState.READY for worker in workers)
    assert stage.home.pid_file("zygote1").read_text() == f"{stage.zygote.pid}\n"
    await end(stage)


async def test_a_launch_that_begins_in_the_moment_of_the_death_waits_for_the_same_new_zygote(stage: Stage) -> None:
    await stage.boot()
    stage.zygote.process.die()  # which nobody has noticed yet
    workers = await stage.launch_four()
    assert all(isinstance(worker, Worker) for worker in workers)
    assert len(stage.zygotes) == 2
    await end(stage)


async def test_one_that_cannot_fork_says_why_and_goes_on(stage: Stage) -> None:
    await stage.boot()
    stage.zygote.fork = stage.zygote.cannot
    with pytest.raises(StartError, match=r"^could not be forked: Resource temporarily unavailable$"):
        await stage.launch()
    assert len(stage.zygotes) == 1
    assert stage.release.forks
    assert stage.reception._expected.keys() == {stage.zygote.standing.token}, "nobody else is expected any more"
    stage.zygote.fork = stage.zygote.forks
    await stage.launch()
    await end(stage)


async def test_one_that_does_not_answer_is_killed_and_loaded_anew_and_the_launch_succeeds(stage: Stage) -> None:
    await stage.boot()
    stopped = stage.zygote
    stopped.hears = False
    began = now()
    workers = await stage.launch_four()
    assert now() - began == pytest.approx(FORK_SECONDS + LOAD, abs=0.1)
    assert all(isinstance(worker, Worker) for worker in workers)
    assert stopped.process.signals[0] is signal.SIGKILL
    assert len(stage.zygotes) == 2
    await end(stage)


async def test_one_whose_line_is_broken_for_good_is_replaced(stage: Stage) -> None:
    await stage.boot()
    stage.zygote.hang_up()
    began = now()
    await stage.launch()
    assert now() - began == pytest.approx(CALL_SECONDS + LOAD, abs=0.1)
    assert len(stage.living_zygotes()) == 1
    await end(stage)


async def test_one_whose_line_is_broken_for_a_moment_is_waited_for(stage: Stage) -> None:
    """So it is right after an upgrade of the supervisor."""
    await stage.boot()
    zygote = stage.zygote
    zygote.hang_up()

    def calls_again() -> None:
        zygote.hung_up = False
        assert stage.release.zygote
        stage.release.zygote.answer(zygote)

    asyncio.get_running_loop().call_later(0.2, calls_again)
    await stage.launch()
    assert [each.pid for each in stage.living_zygotes()] == [zygote.pid]
    await end(stage)


async def test_one_that_dies_between_order_and_answer_is_loaded_anew_once_and_never_for_ever(stage: Stage) -> None:
    await stage.boot()
    stage.zygote.fork = lambda _: stage.zygote.process.die("was killed by SIGSEGV")
    await stage.launch()
    assert len(stage.zygotes) == 2, "the second one could"

    def dies(zygote: FakeZygote) -> None:
        zygote.fork = lambda _: zygote.process.die("was killed by SIGSEGV")
        zygote.loads()

    stage.next = dies
    stage.zygote.fork = lambda _: stage.zygote.process.die("was killed by SIGSEGV")
    with pytest.raises(StartError, match=r"^could not be forked: the zygote of release 1 was killed by SIGSEGV$"):
        await stage.launch()
    assert len(stage.zygotes) == 3
    assert len(stage.servers) == 1
    await soon()
    assert stage.release.state is ReleaseState.COLD
    await end(stage)


async def test_what_a_dying_zygote_had_forked_already_is_not_taken_for_what_its_successor_forks(stage: Stage) -> None:
    await stage.boot()
    first = stage.zygote
    orphans = list[FakeCall]()

    def forks_and_dies(spec: ServerSpec) -> None:
        orphan = FakeCall(
            FakeProcess(), Standing(WorkerState.READY, token=spec.token, server=spec.server, version=VERSION)
        )
        orphans.append(orphan)
        asyncio.get_running_loop().call_later(2 * LOAD, stage.reception.answer, orphan)
        first.process.die()

    first.fork = forks_and_dies
    worker = await stage.launch()
    await asyncio.sleep(3 * LOAD)
    assert worker.process is stage.servers[0]
    assert orphans[0].orders == [OrderName.LEAVE], "two processes behind one socket"
    assert worker.order(OrderName.REST)
    assert OrderName.REST not in orphans[0].orders
    await end(stage)


async def test_one_that_cannot_be_loaded_anew_is_told_to_all_who_wait_and_tried_again_by_the_next(stage: Stage) -> None:
    await stage.boot()
    stage.zygote.process.die()
    await soon()
    stage.next = lambda zygote: zygote.ends(WorkerState.FAILED, BROKEN)
    errors = await stage.launch_four()
    assert [type(error) for error in errors] == [StartError] * 4
    assert "ValueError: broken" in str(errors[0])
    assert len(stage.zygotes) == 2
    assert stage.release.state is ReleaseState.COLD
    assert stage.conf.exists()
    stage.next = lambda zygote: zygote.loads()
    await stage.launch()
    assert len(stage.zygotes) == 3
    await end(stage)


async def test_after_a_defect_while_it_loads_it_can_be_loaded_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.boot()
    stage.zygote.process.die()
    await soon()

    async def defect(*_: object) -> None:
        raise TypeError("a defect")

    with monkeypatch.context() as patched, pytest.raises(TypeError):
        patched.setattr(Worker, "until", defect)
        await stage.launch()
    assert "The loading of release 1 failed, which is a defect" in caplog.text
    assert stage.living_zygotes() == []
    await stage.launch()
    await end(stage)


async def test_one_who_waits_for_the_loading_can_give_up_and_the_others_go_on(stage: Stage) -> None:
    await stage.boot()
    stage.zygote.process.die()
    await soon()
    impatient, patient = (asyncio.create_task(stage.launch(name)) for name in "12")
    await asyncio.sleep(LOAD / 2)
    impatient.cancel()
    worker = await patient
    assert impatient.cancelled()
    assert worker.state is WorkerState.READY
    assert [spec.server for spec in stage.zygote.specs] == ["2"]
    await end(stage)


async def test_a_launch_that_is_cancelled_leaves_a_server_that_is_sent_away_when_it_calls(stage: Stage) -> None:
    await stage.boot()
    stage.zygote.fork = lambda _: None
    launching = asyncio.create_task(stage.launch())
    await soon()
    launching.cancel()
    await soon()
    assert launching.cancelled()
    (spec,) = stage.zygote.specs
    stage.zygote.forks(spec)
    late = FakeCall(stage.servers[0], Standing(WorkerState.READY, token=spec.token, server="1", version=VERSION))
    stage.reception.answer(late)
    assert late.orders == [OrderName.LEAVE]
    await end(stage)


# What was forked.


async def test_a_server_is_known_whether_it_calls_before_its_zygote_answers_or_after(stage: Stage) -> None:
    await stage.boot()
    zygote = stage.zygote

    def calls_first(spec: ServerSpec) -> None:
        asyncio.get_running_loop().call_later(5.0, zygote.answers, spec, zygote.born(spec))

    def answers_first(spec: ServerSpec) -> None:
        process = stage.server_process(spec)
        zygote.answers(spec, process)
        call = FakeCall(process, Standing(WorkerState.READY, token=spec.token, server=spec.server, version=VERSION))
        asyncio.get_running_loop().call_later(5.0, stage.reception.answer, call)

    for zygote.fork in (calls_first, answers_first):
        began = now()
        worker = await stage.launch()
        await worker.until(WorkerState.READY, 10.0)
        assert now() - began == pytest.approx(5.0)
        assert worker.process is stage.servers[-1]
        assert worker.order(OrderName.LEAVE)
    await end(stage)


async def test_one_that_ended_before_it_was_known_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await stage.boot()

    class Gone:
        def __init__(self, _: Identity) -> None:
            raise ProcessLookupError

    monkeypatch.setattr(forks_module, "Process", Gone)
    with pytest.raises(StartError, match=r"^ended at once after the fork$"):
        await stage.launch()
    await end(stage)


async def test_answers_that_nobody_waits_for_do_no_harm(stage: Stage) -> None:
    await stage.boot()

    def answers_twice(spec: ServerSpec) -> None:
        zygote = stage.zygote
        zygote.hear(replace(zygote.standing, forked=Forked("of somebody else", pid=1)))
        zygote.forks(spec)
        zygote.cannot(spec)

    stage.zygote.fork = answers_twice
    worker = await stage.launch()
    assert worker.process is stage.servers[0]
    assert stage.release._forks._asked == {}
    await end(stage)


# Forking is distrusted.


async def test_where_forking_is_distrusted_the_zygote_ends_and_servers_start_the_ordinary_way(stage: Stage) -> None:
    await stage.boot()
    await stage.launch()
    await stage.release.distrust("Server 1 was killed by SIGSEGV right after the fork")
    assert stage.release.state is ReleaseState.ORDINARY
    assert not stage.release.forks
    assert stage.living_zygotes() == []
    await stage.launch()
    assert len(stage.ordinary) == 1
    await stage.release.distrust("Server 2, too")
    assert stage.release.why_ordinary == "Server 1 was killed by SIGSEGV right after the fork"
    await end(stage)


async def test_who_waits_for_a_fork_or_for_the_loading_when_forking_is_distrusted_starts_the_ordinary_way(
    stage: Stage,
) -> None:
    await stage.boot()
    stage.zygote.hears = False
    forking = asyncio.create_task(stage.launch("1"))
    await soon()
    await stage.release.distrust("it crashes")
    await forking
    assert [spec.server for spec in stage.ordinary] == ["1"]
    await end(stage)


async def test_where_forking_is_distrusted_while_a_zygote_is_loaded_anew_that_one_is_killed(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.boot()
    stage.zygote.process.die()
    await soon()
    launches = asyncio.create_task(stage.launch_four())
    await asyncio.sleep(LOAD / 2)
    await stage.release.distrust("it crashes")
    assert stage.living_zygotes() == []
    assert all(isinstance(worker, Worker) for worker in await launches)
    assert sorted(spec.server for spec in stage.ordinary) == list("1234")
    await asyncio.sleep(2 * LOAD)
    assert stage.release.state is ReleaseState.ORDINARY
    assert "defect" not in caplog.text
    await end(stage)


# Adoption.


async def test_an_earlier_supervisors_zygote_is_adopted_forks_and_its_death_is_noticed(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.conf.write_text("the site's")
    zygote, worker = stage.earlier_zygote()
    stage.release.adopt(worker)
    assert stage.release.forks
    await stage.launch()
    assert len(zygote.specs) == 1
    zygote.process.die()
    await soon()
    assert stage.release.state is ReleaseState.COLD
    assert "The zygote of release 1 was killed by SIGKILL" in caplog.text
    await end(stage)


async def test_one_that_speaks_no_version_is_not_told_to_fork_but_replaced_when_it_is_needed(stage: Stage) -> None:
    stage.conf.write_text("the site's")
    for zygote, worker in [stage.earlier_zygote(0), stage.earlier_zygote(0)]:
        stage.release.adopt(worker)
        assert stage.release.state is ReleaseState.COLD
        assert zygote.orders == []
        assert not zygote.process.running
    await stage.launch()
    assert [zygote.standing.version for zygote in stage.zygotes] == [VERSION]
    await end(stage)


async def test_of_several_zygotes_of_one_release_one_is_adopted_and_the_others_are_ended(stage: Stage) -> None:
    found = [stage.earlier_zygote() for _ in range(4)]
    for _, worker in found:
        stage.release.adopt(worker)
    assert [zygote.process.running for zygote, _ in found] == [True, False, False, False]
    await soon()
    assert stage.release.forks
    await stage.launch()
    assert len(found[0][0].specs) == 1
    await stage.release.end()
    assert not found[0][0].process.running


async def test_a_release_of_which_only_servers_are_left_is_loaded_again_if_its_configuration_is_there(
    stage: Stage,
) -> None:
    stage.conf.write_text("the site's")
    stage.release.adopt_without_zygote(warm=True)
    assert stage.release.state is ReleaseState.COLD
    stage.release.adopt_without_zygote(warm=False)
    assert stage.release.state is ReleaseState.COLD, "a second server of it changes nothing"
    await stage.launch()
    assert len(stage.zygotes) == 1
    await end(stage)


@pytest.mark.parametrize(("warm", "conf"), [(False, True), (True, False)])
async def test_else_its_servers_start_the_ordinary_way_and_a_zygote_that_is_found_is_ended(
    stage: Stage, warm: bool, conf: bool
) -> None:
    if conf:
        stage.conf.write_text("the site's")
    stage.release.adopt_without_zygote(warm=warm)
    assert stage.release.state is ReleaseState.ORDINARY
    zygote, worker = stage.earlier_zygote()
    stage.release.adopt(worker)
    assert not zygote.process.running
    await stage.launch()
    assert len(stage.ordinary) == 1
    await end(stage)


# Transitions.


@pytest.mark.parametrize(("former", "state"), list(itertools.product(ReleaseState, ReleaseState)))
async def test_a_transition_that_there_is_not_is_refused(
    stage: Stage, former: ReleaseState, state: ReleaseState
) -> None:
    release = stage.release
    release.state = former
    if state in MAY_BECOME[former]:
        release._become(state)
        assert release.state is state
    else:
        with pytest.raises(RuntimeError, match=f"Release 1 cannot become {state}: it is {former}"):
            release._become(state)
        assert release.state is former


def test_nothing_comes_back_from_the_end_and_no_zygote_from_distrust() -> None:
    assert MAY_BECOME[ReleaseState.ENDED] == set()
    assert MAY_BECOME[ReleaseState.ORDINARY] == {ReleaseState.ENDED}
    assert all(ReleaseState.ENDED in after for state, after in MAY_BECOME.items() if state is not ReleaseState.ENDED)
    assert all(ReleaseState.NEW not in after for after in MAY_BECOME.values())


async def test_every_transition_is_written_to_the_log(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    await stage.boot()
    stage.zygote.process.die(ENDED)
    await soon()
    await stage.launch()
    await end(stage)
    assert [message.removeprefix("Release 1: ") for message in caplog.messages if ", now " in message] == [
        "new, now loading",
        "loading, now warm",
        "warm, now cold",
        "cold, now loading",
        "loading, now warm",
        "warm, now ended",
    ]
