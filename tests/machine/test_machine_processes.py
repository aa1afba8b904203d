"""Real processes of some milliseconds: how they begin, how they end, who notices it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from short_lived import (
    IGNORES_SIGTERM,
    MOMENT,
    SECONDS,
    WAITS,
    exits,
    is_there,
    nothing_is_left_open,
    spawn,
    until,
)

from zenwebserver.machine import processes
from zenwebserver.machine.identity import Identity
from zenwebserver.machine.processes import Process, wait_without_threads

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


def test_where_the_home_is_gone_nothing_is_made_in_its_place(tmp_path: Path) -> None:
    async def main() -> None:
        home = tmp_path / "home"
        with nothing_is_left_open(), pytest.raises(FileNotFoundError, match="home"):
            Process.spawn(["echo", "said"], log=home / "log" / "out.log", folder=home)
        assert not home.exists()

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


def test_a_child_of_asyncio_needs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        process = await asyncio.create_subprocess_exec("sh", "-c", "exit 3")
        assert await process.wait() == 3

    wait_without_threads()
    monkeypatch.setattr(threading.Thread, "start", none_left)
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


@pytest.mark.parametrize("may", [False, True])
def test_only_what_is_said_to_may_bind_low_ports_gets_the_right_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, may: bool
) -> None:
    handed_on: list[bool] = []

    @contextlib.contextmanager
    def binding_low_ports(wanted: bool) -> Iterator[None]:
        handed_on.append(wanted)
        yield

    monkeypatch.setattr(processes.privileges, "binding_low_ports", binding_low_ports)

    async def main() -> None:
        how = {"may_bind_low_ports": True} if may else {}
        await Process.spawn(["true"], log=tmp_path / "log", folder=tmp_path, **how).wait()  # type: ignore[arg-type]

    asyncio.run(main())
    assert handed_on == [may]


def test_waiting_is_bounded(tmp_path: Path) -> None:
    async def main() -> None:
        process = spawn(WAITS, tmp_path)
        assert not await process.wait(MOMENT)
        assert process.running
        process.send(signal.SIGUSR2)
        assert await process.wait()
        assert process.exited.result() == "was killed by SIGUSR2"

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
        with contextlib.suppress(ProcessLookupError):
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
