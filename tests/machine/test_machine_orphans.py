"""Orphans are waited for, and nothing else is: whoever waits for a process is told how it ended."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from short_lived import (
    SECONDS,
    WAITS,
    exits,
    is_there,
    is_zombie,
    spawn,
    until,
)

from zenwebserver.machine import privileges, processes
from zenwebserver.machine.identity import Identity
from zenwebserver.machine.processes import Process, reap_orphans


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
