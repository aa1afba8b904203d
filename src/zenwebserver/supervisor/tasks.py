"""The one place that keeps tasks: none ends unheard, and what must not end is begun again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 1.0  # before what failed is begun again


class Tasks:
    """The supervisor's tasks; a task that is running is not forgotten."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def keep(self, what: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Do `work` for ever: where it fails, that is logged, and it is begun again a moment later."""
        return self.do(what, self._again_and_again(what, work))

    def do(self, what: str, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Do `work` once, in the background; where it fails, that is logged with its traceback."""
        task = asyncio.get_running_loop().create_task(work, name=what)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def end(self) -> None:
        """Cancel all, and wait until each has ended."""
        while running := self._running - {asyncio.current_task()}:
            for task in running:
                task.cancel()
            await asyncio.wait(running)

    async def _again_and_again(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except (Exception, asyncio.CancelledError) as error:
                task = asyncio.current_task()
                if isinstance(error, asyncio.CancelledError) and task and task.cancelling():
                    raise  # else what it waited for was cancelled, not it
                logger.exception("%s failed, and goes on in %g s", what, PAUSE_SECONDS)
            else:
                logger.error("%s ended, and is begun again in %g s", what, PAUSE_SECONDS)
            await asyncio.sleep(PAUSE_SECONDS)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.critical("%s failed, which is a defect", task.get_name(), exc_info=error)
