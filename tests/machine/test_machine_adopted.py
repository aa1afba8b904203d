"""A process that somebody else started is adopted, if it is still the one that was meant."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from short_lived import (
    MOMENT,
    SECONDS,
    nothing_is_left_open,
    spawn,
    until,
)

from zenwebserver.machine.identity import Identity
from zenwebserver.machine.processes import Process


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
