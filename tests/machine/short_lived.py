"""Real processes for tests, and what is seen of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from zenwebserver.machine.identity import Identity
from zenwebserver.machine.processes import Process

SECONDS = 20.0  # for a loaded machine
MOMENT = 0.02
WAITS = ["sleep", "60"]
IGNORES_SIGTERM = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 60 & wait; done"]


def exits(code: int) -> list[str]:
    return ["sh", "-c", f"exit {code}"]


def spawn(arguments: list[str], folder: Path, **settings: object) -> Process:
    return Process.spawn(arguments, log=folder / "log", folder=folder, **settings)  # type: ignore[arg-type]


async def until(holds: Callable[[], object], what: str) -> None:
    try:
        async with asyncio.timeout(SECONDS):
            while not holds():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"not within {SECONDS:g} s: {what}") from None


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
