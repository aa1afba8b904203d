"""An event loop in virtual time: unit tests wait for hours in no time, and always in the same order.

What is ready is done at once, as on any loop. Where nothing is ready, the clock jumps to the next timer instead of
sleeping. So `await asyncio.sleep(0.001)` means: until all that can happen now has happened.

Only what happens inside the test's own process may be waited for: its sockets and its threads, but no other process.
`time.monotonic()` is not virtual; the loop's `time()` is.
"""

from __future__ import annotations

import asyncio
import gc
import selectors
import socket
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")

BEGINNING = 1000.0  # seconds; not 0, which a "never yet" could be mistaken for
LONGEST = 24 * 3600.0  # virtual seconds; a task that looks again and again keeps the clock going for ever
SPINNING = 100_000  # rounds in which the clock does not move
TCP_SECONDS = 0.005  # real ones: the kernel hands a packet over soon, but not at once as through a Unix socket
HANG_SECONDS = 0.05  # real ones


class HangError(Exception):
    """What the test waits for never comes."""


class VirtualSelector(selectors.DefaultSelector):
    """Waits for nothing but threads of this process: the time for which it is told to wait passes at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = BEGINNING
        self.threads = 0  # at work; real time passes for them
        self._rounds = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._rounds += 1
        if self._rounds > SPINNING:
            self._rounds = 0
            for key, _ in super().select(0):
                self.unregister(key.fileobj)  # so that the test can be ended
            raise HangError("goes round and round, and the clock stands still")
        ready = super().select(None if self.threads and timeout != 0 else 0)
        if ready or timeout == 0:
            return ready
        if self._has_tcp_connections() and (ready := super().select(TCP_SECONDS)):
            return ready
        if timeout is None:
            if ready := super().select(HANG_SECONDS):
                return ready
            raise HangError("hangs: nothing is ready, and no timer runs")
        if self.now > BEGINNING + LONGEST:
            raise HangError("goes on for ever")
        self.now += timeout
        self._rounds = 0
        return []

    def _has_tcp_connections(self) -> bool:
        return any(_is_tcp_connection(key.fd) for key in self.get_map().values())


class VirtualLoop(asyncio.SelectorEventLoop):
    """Keeps what went wrong where nobody looked."""

    def __init__(self) -> None:
        self._clock = VirtualSelector()
        super().__init__(self._clock)
        self.unheard: list[BaseException] = []
        self._tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self.set_exception_handler(self._keep)

    def time(self) -> float:
        return self._clock.now

    def create_task(self, coro: Any, **details: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = super().create_task(coro, **details)
        self._tasks.add(task)
        return task

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        self._clock.threads += 1
        work = super().run_in_executor(executor, func, *args)
        work.add_done_callback(self._thread_ended)
        return work

    def waiting(self) -> str:
        """The tasks that have not ended, each with the line where it waits."""
        return "; ".join(sorted(_where(task) for task in asyncio.all_tasks(self))) or "no task"

    def look_for_unheard(self) -> None:
        """Add the exceptions of tasks that ended and that nobody asked how, as asyncio does when it forgets them."""
        for task in list(self._tasks):
            if task.done() and task._log_traceback and (error := task.exception()):
                self.unheard.append(_noted(error, f"in the task {task.get_name()}, which nobody asked how it ended"))

    def end_tasks(self) -> None:
        """Cancel what has not ended, and wait for it as far as that is possible."""
        tasks = asyncio.all_tasks(self)
        for task in tasks:
            task.cancel()
        if tasks:
            ended = self.create_task(asyncio.wait(tasks))
            try:
                self.run_until_complete(ended)
            except HangError as hang:
                ended.cancel()
                self.unheard.append(_noted(hang, f"while it was cancelled: {self.waiting()}"))

    def _keep(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception") or RuntimeError(context["message"])
        self.unheard.append(_noted(error, str(context)))
        if not isinstance(error, Exception):  # pytest's own: a time limit, a failed assertion in a callback
            self.stop()

    def _thread_ended(self, _: asyncio.Future[Any]) -> None:
        self._clock.threads -= 1


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a test in virtual time.

    Raises what it raises; HangError where it would wait for ever; AssertionError where it leaves tasks behind; an
    exception group of what was raised in callbacks and tasks where nobody looked.
    """
    gc.freeze()  # what is older is not this test's, and need not be searched
    loop = VirtualLoop()
    try:
        result = _finished(loop, coroutine)
    finally:
        loop.close()
        gc.unfreeze()
    if loop.unheard:
        raise BaseExceptionGroup("Nobody looked at this", loop.unheard)
    return result


def _finished(loop: VirtualLoop, coroutine: Coroutine[Any, Any, Result]) -> Result:
    test = loop.create_task(coroutine, name="the test")
    try:
        result: Result = loop.run_until_complete(test)
        loop.run_until_complete(asyncio.sleep(0.001))  # what is cancelled already ends
        if asyncio.all_tasks(loop):
            raise AssertionError(f"The test left tasks behind: {loop.waiting()}")
    except HangError as hang:
        raise HangError(f"The test {hang}. At {loop.time() - BEGINNING:g} s: {loop.waiting()}") from None
    except BaseException as error:
        loop.look_for_unheard()
        for other in loop.unheard:
            if other is not error:
                error.add_note(f"Nobody looked at this: {other!r}")
        raise
    finally:
        loop.end_tasks()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.look_for_unheard()
        del test
        gc.collect()  # coroutines never awaited, sockets never closed, futures never looked at: told in this test
    return result


def _is_tcp_connection(descriptor: int) -> bool:
    try:
        found = socket.socket(fileno=descriptor)
    except OSError:
        return False  # a pipe
    try:
        internet = found.family in (socket.AF_INET, socket.AF_INET6)
        return internet and not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    finally:
        found.detach()


def _where(task: asyncio.Task[Any]) -> str:
    stack = task.get_stack()
    where = f" at {stack[-1].f_code.co_filename}:{stack[-1].f_lineno}" if stack else ""
    return f"{task.get_name()!r} in {task.get_coro().__qualname__}{where}"  # type: ignore[union-attr]


def _noted(error: BaseException, note: str) -> BaseException:
    error.add_note(note)
    return error
