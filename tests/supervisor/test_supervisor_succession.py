"""The next supervisor, as this one sees it: a program that says how far it is."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from short_home import short_home

from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.supervisor import succession
from zenwebserver.supervisor.lock import Lock, RunsAlready
from zenwebserver.supervisor.succession import Successor

# `line` and `lock` are what a successor is given.
PROGRAM = """#!{python}
import os, socket, sys, time
assert sys.argv[1:3] == ["-m", "zenwebserver.supervisor"] and sys.argv[4] == "--succeed", sys.argv
line, lock = socket.socket(fileno=int(sys.argv[5])), int(sys.argv[6])
{program}
"""
WAITS = "assert line.recv(6) in (b'begin\\n', b'')\n"

# What it starts plays a supervisor; the guard of the fast tests cannot know that.
pytestmark = pytest.mark.real


@pytest.fixture
def home() -> Iterator[Home]:
    with short_home() as home:
        yield home


@pytest.fixture
def with_successor(home: Home) -> Callable[[str, Callable[[Successor], Coroutine[Any, Any, None]]], None]:
    """Runs a coroutine with a successor that is this program. It is ended afterwards, and the lock is free then."""

    def run(program: str, test: Callable[[Successor], Coroutine[Any, Any, None]]) -> None:
        python = home.path / "python"
        python.write_text(PROGRAM.format(python=sys.executable, program=program))
        python.chmod(0o755)
        lock = Lock.take(home)

        async def whole() -> None:
            successor = Successor.start(home, lock, str(python))
            try:
                await test(successor)
            finally:
                await successor.end()

        asyncio.run(whole())
        lock.release()
        Lock.take(home).release()

    return run


def test_it_loads_waits_for_its_turn_and_takes_over(home: Home, with_successor: Any) -> None:
    (home.path / "turn").unlink(missing_ok=True)

    async def succeed(successor: Successor) -> None:
        await successor.loads()
        assert not (home.path / "turn").exists()
        await successor.takes_over()
        assert (home.path / "turn").exists()
        with pytest.raises(RunsAlready):
            Lock.take(home)

    turn = home.path / "turn"
    with_successor(
        f"print('a warning', file=sys.stderr, flush=True); print('loaded', flush=True)\n{WAITS}"
        f"open('{turn}', 'w'); print('ready', flush=True); time.sleep(60)",
        succeed,
    )


def test_one_that_dies_while_it_loads_says_why(with_successor: Any) -> None:
    async def fail(successor: Successor) -> None:
        with pytest.raises(ZenwebserverError) as error:
            await successor.loads()
        assert "it ended with exit code 1" in error.value.message
        assert "RuntimeError: broken ä" in error.value.detail
        assert "The former one goes on" in error.value.hint

    with_successor("raise RuntimeError('broken ä')", fail)


def test_one_that_dies_once_it_was_its_turn_says_why(with_successor: Any) -> None:
    async def fail(successor: Successor) -> None:
        await successor.loads()
        with pytest.raises(ZenwebserverError) as error:
            await successor.takes_over()
        assert error.value.message.endswith("it was killed by SIGKILL")
        assert error.value.detail == "it cannot adopt"

    with_successor(
        f"print('loaded', flush=True)\n{WAITS}print('it cannot adopt', flush=True); os.kill(os.getpid(), 9)", fail
    )


def test_one_that_is_dead_before_its_turn_is_no_defect(with_successor: Any) -> None:
    async def fail(successor: Successor) -> None:
        await successor.loads()
        while Path(f"/proc/{successor.pid}").exists():
            await asyncio.sleep(0.01)
        with pytest.raises(ZenwebserverError, match="it ended with exit code 0"):
            await successor.takes_over()

    with_successor("print('loaded', flush=True)", fail)


def test_one_that_is_too_late_is_ended(with_successor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(succession, "ADOPT_SECONDS", 0.1)

    async def fail(successor: Successor) -> None:
        await successor.loads()
        with pytest.raises(ZenwebserverError, match=r"it was not ready after 0\.1 s"):
            await successor.takes_over()

    with_successor("print('loaded', flush=True); time.sleep(600)", fail)


def test_a_python_that_is_gone_is_told(home: Home) -> None:
    async def fail() -> None:
        with pytest.raises(ZenwebserverError, match=r"cannot be started: .*No such file"):
            Successor.start(home, lock, str(home.path / "gone"))

    lock = Lock.take(home)
    asyncio.run(fail())
    lock.release()
