"""Real processes of some milliseconds: how they begin, how they end, who notices it."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from zenwebserver.machine import privileges, processes
from zenwebserver.machine.identity import Identity
from zenwebserver.machine.processes import Process, reap_orphans

SECONDS = 20.0  # for a loaded machine
MOMENT = 0.02
WAITS = ["sleep", "60"]
IGNORES_SIGTERM = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 60 & wait; done"]


def exits(code: int) -> list[str]:
    return ["sh", "-c", f"exit {code}"]


def spawn(arguments: list[str], folder: Path, **settings: object) -> Process:
    return Process.spawn(arguments, log=folder / "log", folder=folder, **settings)  # type: ignore[arg-type]


async def until(holds: object, what: str) -> None:
    async with asyncio.timeout(SECONDS):
        while not holds():  # type: ignore[operator]
            await asyncio.sleep(0.005)
    assert holds(), what  # type: ignore[operator]


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def is_zombie(pid: int) -> bool:
    return is_there(pid) and Identity.of(pid) is None


@contextmanager
def nothing_is_left_open() -> Iterator[None]:
    """Neither a descriptor, nor a reader of one."""

    def seen() -> tuple[set[Path], set[int]]:
        readers = asyncio.get_running_loop()._selector.get_map()  # type: ignore[attr-defined]
        return set(Path("/proc/self/fd").iterdir()), set(readers)

    before = seen()
    yield
    assert seen() == before


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own that is not ended by itself."""
    with subprocess.Popen(WAITS, start_new_session=True) as process:
        yield process
        process.kill()


# Spawn.


def test_a_process_writes_into_its_log_and_is_in_a_session_of_its_own(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "log").write_text("before\n")
        environment = {"PATH": os.environ["PATH"], "WORD": "said"}
        process = spawn(["sh", "-c", "echo $WORD; echo wrong >&2; pwd; cat"], tmp_path, environment=environment)
        await process.wait(SECONDS)
        assert (tmp_path / "log").read_text() == f"before\nsaid\nwrong\n{tmp_path}\n"
        other = spawn(WAITS, tmp_path)
        assert os.getsid(other.pid) == other.pid
        assert other.identity == Identity.of(other.pid)
        await other.end(signal.SIGKILL, SECONDS)

    asyncio.run(main())


def test_a_descriptor_that_is_handed_on_is_open_in_the_process_and_no_other_is(tmp_path: Path) -> None:
    async def main() -> None:
        reading, writing = os.pipe()
        kept = os.dup(writing)
        program = f"echo said > /proc/self/fd/{writing}; test -e /proc/self/fd/{kept}"
        process = spawn(["sh", "-c", program], tmp_path, descriptors=[writing])
        await process.wait(SECONDS)
        assert process.exited.result() == "ended with exit code 1"
        for descriptor in (writing, kept):
            os.close(descriptor)
        with os.fdopen(reading) as pipe:
            assert pipe.read() == "said\n"

    asyncio.run(main())


def test_a_log_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    async def main() -> None:
        log = tmp_path / "log" / "nginx" / "out.log"
        process = Process.spawn(["echo", "said"], log=log, folder=tmp_path)
        await process.wait(SECONDS)
        assert log.read_text() == "said\n"

    asyncio.run(main())


def test_a_program_that_cannot_be_run_leaves_nothing_open(tmp_path: Path) -> None:
    async def main() -> None:
        with nothing_is_left_open(), pytest.raises(FileNotFoundError):
            spawn([str(tmp_path / "none")], tmp_path)

    asyncio.run(main())


def test_a_process_that_could_not_be_watched_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        pids = []

        def too_many(pid: int) -> int:
            pids.append(pid)
            raise OSError(errno.EMFILE, "Too many open files")

        with nothing_is_left_open():
            monkeypatch.setattr(os, "pidfd_open", too_many)
            with pytest.raises(OSError, match="Too many open files"):
                spawn(WAITS, tmp_path)
            monkeypatch.undo()
        assert not is_there(pids[0])

    asyncio.run(main())


# How it ends.


@pytest.mark.parametrize(
    ("arguments", "how"),
    [
        (exits(0), "ended with exit code 0"),
        (exits(3), "ended with exit code 3"),
        (["sh", "-c", "kill -KILL $$"], "was killed by SIGKILL"),
        (["sh", "-c", "kill -SEGV $$"], "was killed by SIGSEGV"),
        ([sys.executable, "-S", "-c", "import os; os.kill(os.getpid(), 40)"], "was killed by signal 40"),
    ],
)
def test_how_a_process_ended_is_told(tmp_path: Path, arguments: list[str], how: str) -> None:
    async def main() -> None:
        with nothing_is_left_open():
            process = spawn(arguments, tmp_path)
            assert await process.wait(SECONDS)
            assert process.exited.result() == how
            assert not process.running
            assert not is_there(process.pid)
            process.send(signal.SIGKILL)
            assert await process.wait(0)
            assert await process.end(signal.SIGTERM, 0)

    asyncio.run(main())


def test_waiting_is_bounded(tmp_path: Path) -> None:
    async def main() -> None:
        process = spawn(WAITS, tmp_path)
        assert not await process.wait(MOMENT)
        assert process.running
        process.send(signal.SIGINT)
        assert await process.wait()
        assert process.exited.result() == "was killed by SIGINT"

    asyncio.run(main())


def test_one_that_is_told_to_end_ends_by_itself(tmp_path: Path) -> None:
    async def main() -> None:
        process = spawn(WAITS, tmp_path)
        assert await process.end(signal.SIGTERM, SECONDS)
        assert process.exited.result() == "was killed by SIGTERM"

    asyncio.run(main())


def test_one_that_does_not_listen_is_killed_when_its_time_is_over(tmp_path: Path) -> None:
    async def main() -> None:
        process = spawn(IGNORES_SIGTERM, tmp_path)
        await until((tmp_path / "log").read_text, "it ignores SIGTERM from now on")
        begun = asyncio.get_running_loop().time()
        assert not await process.end(signal.SIGTERM, 0.1)
        assert asyncio.get_running_loop().time() - begun >= 0.1
        assert process.exited.result() == "was killed by SIGKILL"
        os.killpg(process.pid, signal.SIGKILL)  # what it was waiting for

    asyncio.run(main())


def test_a_pid_file_that_cannot_be_written_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        process = spawn(WAITS, tmp_path)
        process.name_in(tmp_path / "pid")
        assert Identity.read(tmp_path / "pid") == process.identity
        process.name_in(tmp_path / "none" / "pid")
        assert f"Pid file of process {process.pid} could not be written" in caplog.text
        await process.end(signal.SIGKILL, SECONDS)
        assert Identity.read(tmp_path / "pid") is None

    asyncio.run(main())


# Adopt.


def test_an_adopted_process_is_waited_for_whoever_started_it(tmp_path: Path) -> None:
    async def main() -> None:
        parent = spawn(["sh", "-c", "sleep 60 & echo $!; exec sleep 60"], tmp_path)
        await until((tmp_path / "log").read_text, "it has begun")
        identity = Identity.of(int((tmp_path / "log").read_text()))
        assert identity
        with nothing_is_left_open():
            process = Process.adopt(identity)
            assert process
            assert not await process.wait(MOMENT)
            assert await process.end(signal.SIGTERM, SECONDS)
            assert process.exited.result() == "ended", "nobody but its parent is told more"
        await parent.end(signal.SIGKILL, SECONDS)

    asyncio.run(main())


def test_an_adopted_child_of_ours_tells_how_it_ended(sleeper: subprocess.Popen[bytes]) -> None:
    async def main() -> None:
        identity = Identity.of(sleeper.pid)
        assert identity
        process = Process.adopt(identity)
        assert process
        process.send(signal.SIGTERM)
        assert await process.wait(SECONDS)
        assert process.exited.result() == "was killed by SIGTERM"

    asyncio.run(main())


def test_a_process_that_started_at_another_time_is_another_one(sleeper: subprocess.Popen[bytes]) -> None:
    async def main() -> None:
        identity = Identity.of(sleeper.pid)
        assert identity
        with nothing_is_left_open():
            for ticks in (-1, 1):
                assert Process.adopt(Identity(identity.pid, identity.started + ticks)) is None
        assert sleeper.poll() is None

    asyncio.run(main())


def test_its_start_is_looked_at_when_its_pid_can_no_more_become_anothers(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies between the two looks."""

    async def main() -> None:
        identity = Identity.of(sleeper.pid)
        assert identity
        opened = os.pidfd_open

        def open_and_kill(pid: int) -> int:
            descriptor = opened(pid)
            sleeper.kill()
            sleeper.wait()
            return descriptor

        with nothing_is_left_open():
            monkeypatch.setattr(os, "pidfd_open", open_and_kill)
            assert Process.adopt(identity) is None
            monkeypatch.undo()

    asyncio.run(main())


@pytest.mark.parametrize("pid", [0, -1, 2**30])
def test_what_is_no_pid_is_not_adopted(pid: int) -> None:
    async def main() -> None:
        with nothing_is_left_open():
            assert Process.adopt(Identity(pid, 1)) is None

    asyncio.run(main())


def test_a_thread_is_not_adopted() -> None:
    async def main() -> None:
        end = threading.Event()
        thread = threading.Thread(target=end.wait)
        thread.start()
        identity = Identity.of(thread.native_id or 0)
        assert identity, "it has a folder in /proc"
        assert Process.adopt(identity) is None
        end.set()
        thread.join()

    asyncio.run(main())


def test_a_dead_process_is_not_adopted_before_it_was_waited_for_nor_afterwards(
    sleeper: subprocess.Popen[bytes],
) -> None:
    async def main() -> None:
        identity = Identity.of(sleeper.pid)
        assert identity
        sleeper.kill()
        os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
        with nothing_is_left_open():
            assert Process.adopt(identity) is None
            sleeper.wait()
            assert Process.adopt(identity) is None

    asyncio.run(main())


def test_too_many_open_files_do_not_mean_that_it_has_ended(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_many(_: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    async def main() -> None:
        identity = Identity.of(sleeper.pid)
        assert identity
        monkeypatch.setattr(os, "pidfd_open", too_many)
        with pytest.raises(OSError, match="Too many open files"):
            Process.adopt(identity)

    asyncio.run(main())


# Orphans.


@pytest.fixture
def subreaper() -> Iterator[None]:
    """Orphans of what a test starts become this process's children."""
    privileges.become_subreaper()
    yield
    privileges._prctl(privileges.PR_SET_CHILD_SUBREAPER, 0)


LOOK_AGAIN = 0.005


async def many_looks() -> None:
    """As much reaping as there will ever be for what is a zombie now."""
    reaping = asyncio.create_task(reap_orphans(LOOK_AGAIN))
    looks = asyncio.Event()
    zombies, seen = processes._zombies, []

    def counted() -> object:
        seen.append(zombies())
        if len(seen) == 2 * processes.LOOKS:
            looks.set()
        return seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "_zombies", counted)
        await asyncio.wait_for(looks.wait(), SECONDS)
    reaping.cancel()
    await asyncio.wait([reaping])


def test_what_a_process_left_behind_is_reaped_when_it_has_ended(tmp_path: Path, subreaper: None) -> None:
    async def main() -> None:
        process = spawn(["sh", "-c", "sleep 60 & echo $!"], tmp_path)
        await process.wait(SECONDS)
        orphan = int((tmp_path / "log").read_text())
        await many_looks()
        assert Identity.of(orphan), "as long as it lives, nothing happens to it"
        os.kill(orphan, signal.SIGKILL)
        await until(lambda: is_zombie(orphan), "nobody waited for it")
        await many_looks()
        assert not is_there(orphan)

    asyncio.run(main())


@contextmanager
def busy_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that notices nothing while another one runs."""
    loop = asyncio.new_event_loop()
    try:
        yield loop
    finally:
        loop.close()


async def zombie_and_many_looks(pid: int) -> None:
    await until(lambda: is_zombie(pid), "it has ended")
    await many_looks()
    assert is_zombie(pid), "whoever waits for it is told how it ended"


def test_the_end_of_a_process_is_told_though_reaping_was_sooner(tmp_path: Path, subreaper: None) -> None:
    async def begin() -> Process:
        return spawn(WAITS, tmp_path)

    with busy_loop() as loop:
        process = loop.run_until_complete(begin())
        os.kill(process.pid, signal.SIGKILL)
        asyncio.run(zombie_and_many_looks(process.pid))
        assert loop.run_until_complete(process.wait(SECONDS))
        assert process.exited.result() == "was killed by SIGKILL"


def test_the_end_of_an_adopted_child_is_told_though_reaping_was_sooner(
    tmp_path: Path, subreaper: None, sleeper: subprocess.Popen[bytes]
) -> None:
    async def begin() -> Process:
        identity = Identity.of(sleeper.pid)
        assert identity
        process = Process.adopt(identity)
        assert process
        return process

    with busy_loop() as loop:
        process = loop.run_until_complete(begin())
        sleeper.kill()
        asyncio.run(zombie_and_many_looks(process.pid))
        assert loop.run_until_complete(process.wait(SECONDS))
        assert process.exited.result() == "was killed by SIGKILL"


def test_an_exit_status_is_left_to_subprocess(subreaper: None) -> None:
    with subprocess.Popen(exits(3)) as child:
        asyncio.run(zombie_and_many_looks(child.pid))
        assert child.wait() == 3


def test_an_exit_status_is_left_to_asyncio(subreaper: None) -> None:
    async def main() -> None:
        child = await asyncio.create_subprocess_exec(*exits(3))
        await many_looks()
        assert await child.wait() == 3

    asyncio.run(main())


def test_one_that_was_just_forked_for_us_is_still_there_when_we_are_told_of_it(
    tmp_path: Path, subreaper: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a server that died at once, before its zygote could say which pid it had."""
    assert processes.LOOKS * processes.LOOK_AGAIN_SECONDS >= 15

    async def main() -> None:
        zygote = spawn(["sh", "-c", "(read line; exit 3) </dev/null & echo $!"], tmp_path)
        await zygote.wait(SECONDS)
        pid = int((tmp_path / "log").read_text())
        await until(lambda: is_zombie(pid), "it has ended")
        looks = []
        zombies = processes._zombies
        monkeypatch.setattr(processes, "_zombies", lambda: looks.append(is_there(pid)) or zombies())
        reaping = asyncio.create_task(reap_orphans(LOOK_AGAIN))
        await until(lambda: not is_there(pid), "it is reaped in the end")
        reaping.cancel()
        assert looks == [True] * processes.LOOKS

    asyncio.run(main())
