"""The one lock for changes: a second change waits for the first and says whose it is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any


class NotBegun(asyncio.CancelledError):
    """A change was cut off while it waited: nothing of it was done, and it may be asked for again."""


@dataclass(eq=False)
class Change:
    what: str


class Changes:
    """At most one change goes on. Whoever merely waits for others to finish gives the lock up meanwhile."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self.holder: Change | None = None
        self._begun = 0  # changes that hold the lock, wait for it, or have given it up and go on
        self._waiting: set[asyncio.Task[Any]] = set()  # those of changes of which nothing was done yet
        self._closed = False

    @property
    def current(self) -> str:
        """What is being changed, for status and for whoever waits."""
        return self.holder.what if self.holder else ""

    @property
    def idle(self) -> bool:
        """Nobody changes anything, or waits to."""
        return not self._begun

    @contextlib.asynccontextmanager
    async def make(self, what: str, waits: Callable[[str], None] = lambda _: None) -> AsyncIterator[Change]:
        """Be the one that changes; `waits` is told what must end first. Raises NotBegun where they are closed."""
        change = Change(what)
        self._begun += 1
        try:
            if self.holder:
                waits(self.current)
            await self._begin(change)
            try:
                yield change
            finally:
                if self.holder is change:
                    self._give_up()
        finally:
            self._begun -= 1

    def close(self) -> None:
        """Another supervisor changes from now on: here, whoever waits or comes later does not begin."""
        self._closed = True

    def withdraw(self, task: asyncio.Task[Any]) -> bool:
        """End `task` where all that it did is wait for its turn. Returns False where it has begun, and goes on."""
        return task in self._waiting and task.cancel()

    def finish(self) -> None:
        """What was to be changed is changed: the rest of the work changes nothing, and keeps nobody from changing."""
        self._give_up()

    @contextlib.asynccontextmanager
    async def given_up(self) -> AsyncIterator[None]:
        """Inside it others may change things: what was so before need not be so after it."""
        change = self.holder
        assert change
        self._give_up()
        try:
            yield
        finally:
            await self._take(change)

    async def _begin(self, change: Change) -> None:
        task = asyncio.current_task()
        assert task
        self._waiting.add(task)
        try:
            await self._take(change)
        except asyncio.CancelledError:
            if self._closed:
                raise NotBegun from None
            raise
        finally:
            self._waiting.discard(task)
        if self._closed:
            self._give_up()
            raise NotBegun

    async def _take(self, change: Change) -> None:
        await self._lock.acquire()
        self.holder = change

    def _give_up(self) -> None:
        self.holder = None
        self._lock.release()
