"""The one lock for changes: a second change waits for the first and says whose it is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable


class Changes:
    """At most one change goes on."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self.current = ""  # what is being done, for status and for whoever waits

    @contextlib.asynccontextmanager
    async def make(self, what: str, waits: Callable[[str], None] = lambda _: None) -> AsyncIterator[None]:
        """Be the one that changes; `waits` is told what must end first."""
        if self._lock.locked():
            waits(self.current)
        async with self._lock:
            self.current = what
            try:
                yield
            finally:
                self.current = ""
