"""The supervisor's API: HTTP and JSON on a Unix socket of the home; changes stream an event a step, a line each."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import json
import logging
import os
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from zenwebserver import __version__
from zenwebserver.errors import UsageError, ZenwebserverError, told
from zenwebserver.home import Home
from zenwebserver.supervisor.changes import NotBegun
from zenwebserver.supervisor.operations import attach, configure, deploy, elsewhere, init, restart, start, stop
from zenwebserver.supervisor.operations.session import session
from zenwebserver.supervisor.report import Event, Report
from zenwebserver.supervisor.snapshot import snapshot
from zenwebserver.supervisor.supervisor import Supervisor

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 5.0
KEYWORD = inspect.Parameter.KEYWORD_ONLY

Operation = Callable[..., Awaitable[str]]
OPERATIONS: dict[str, Operation] = {
    "init": init.init,
    "accept": elsewhere.accept,
    "start": start.start,
    "stop": stop.stop,
    "restart": restart.restart,
    "deploy": deploy.deploy,
    "attach": attach.attach,
    "detach": attach.detach,
    "configure": configure.configure,
    "verify": configure.verify,
    "reload": configure.reload,
}


class Api:
    """`ended` is called after each change, with the supervisor perhaps idle; `upgrade` puts a new one in its place.

    `make_room` ends it, for a command of an earlier version that starts the next one itself. `etc` is where the
    home's folder of that name is now; None where it was removed.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        ended: Callable[[], None],
        upgrade: Callable[[Report, str], Awaitable[str]],
        make_room: Callable[[], None],
        etc: Callable[[], Path | None],
    ) -> None:
        self._supervisor = supervisor
        self._ended = ended
        self._upgrade = upgrade
        self._make_room = make_room
        self._etc = etc
        self.app = Starlette(
            routes=[
                Route("/status", self._status, methods=["GET"]),
                Route("/servers/{number:int}/threads", self._threads, methods=["GET"]),
                Route("/upgrade", self._succession, methods=["POST"]),
                Route("/operations/{name}", self._operation, methods=["POST"]),
                Route("/sessions/{kind}", self._session, methods=["POST"]),
            ]
        )

    async def _status(self, _: Request) -> Response:
        return JSONResponse({"version": __version__, **snapshot(self._supervisor)})

    async def _threads(self, request: Request) -> Response:
        server = self._supervisor.servers.get(request.path_params["number"])
        if server is None or server.worker is None or not server.pid:
            return JSONResponse({"error": "That server is not running"})
        try:
            threads = await server.worker.threads(ANSWER_SECONDS)
        except ZenwebserverError as error:
            return JSONResponse({"error": error.message, "hint": error.hint})
        return JSONResponse({"threads": [dataclasses.asdict(thread) for thread in threads]})

    async def _succession(self, request: Request) -> Response:
        """`python` is that of the command: its supervisor is wanted. One of an earlier version says nothing."""
        if not await request.body():
            return await self._room(request)

        async def upgrade(_: Supervisor, report: Report, *, python: str = sys.executable) -> str:
            return await self._upgrade(report, python)

        what = await _asked(request)
        return self._streamed("upgrade", lambda report: self._change("upgrade", upgrade, what, report))

    async def _room(self, request: Request) -> Response:
        """What it is told is no more than that it may wait for the end; it does not, where it has hung up meanwhile."""
        async with self._supervisor.changes.make("upgrade"):
            if not await request.is_disconnected():
                self._make_room()
        return JSONResponse({})

    async def _operation(self, request: Request) -> Response:
        name = request.path_params["name"]
        what = await _asked(request)
        return self._streamed(name, lambda report: self.operate(name, what, report))

    async def _session(self, request: Request) -> Response:
        """Keep a session until whoever asked for it hangs up, or dies."""
        kind = request.path_params["kind"]

        async def until_hung_up(report: Report) -> None:
            async def held() -> str:
                refuse_homeless(self._supervisor.home, self._etc())
                async with session(self._supervisor, report, kind):
                    while (await request.receive())["type"] != "http.disconnect":
                        pass
                return ""

            try:
                await _told(report, held(), kind)
            finally:
                self._ended()

        return self._streamed(kind, until_hung_up)

    def _streamed(self, name: str, work: Callable[[Report], Coroutine[Any, Any, None]]) -> Response:
        """The events of `work`, which goes on though whoever asked goes away; what still waits is not done then."""

        async def lines() -> AsyncIterator[str]:
            # By now the head of the answer is on its way: whoever has seen none knows that nothing was begun.
            events: asyncio.Queue[Event | None] = asyncio.Queue()
            task = self._supervisor.tasks.do(name, work(Report(events.put_nowait)))
            task.add_done_callback(lambda _: events.put_nowait(None))  # even if it was cut off before its first step
            try:
                while (event := await events.get()) is not None:
                    yield json.dumps(event) + "\n"
            finally:
                if self._supervisor.changes.withdraw(task):
                    logger.info("Withdrawn: %s; whoever asked for it went away while it waited", name)

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    async def operate(self, name: str, what: Any, report: Report) -> None:
        """Do it, as the only change, and tell how it ended."""
        await self._change(name, OPERATIONS.get(name), what, report)

    async def _change(self, name: str, operation: Operation | None, what: Any, report: Report) -> None:
        try:
            await _told(report, self._as_the_only_change(name, operation, what, report), name)
        finally:
            self._ended()

    async def _as_the_only_change(self, name: str, operation: Operation | None, what: Any, report: Report) -> str:
        if operation is None:
            raise cannot(f"does not know the operation {name}")
        if not isinstance(what, dict):
            raise cannot(f"does not understand what {name} is to do: it is no JSON object")
        refuse_unknown(name, operation, what)
        targets = what.get("targets", ())
        words = " ".join([name, *map(str, targets if isinstance(targets, list | tuple) else ())])
        changes = self._supervisor.changes
        async with changes.make(words, report.waits) as change:
            if name != "stop":
                refuse_homeless(self._supervisor.home, self._etc())
            logger.info("Begin: %s %s", name, what)
            try:
                return await operation(self._supervisor, report, **what)
            finally:
                if changes.holder is change:
                    await self._supervisor.retire_releases()


def refuse_unknown(name: str, operation: Operation, what: dict[str, Any]) -> None:
    """Raises UsageError where a command of another version wants something that this supervisor cannot do."""
    known = {key: each for key, each in inspect.signature(operation).parameters.items() if each.kind is KEYWORD}
    if unknown := sorted(set(what) - set(known)):
        raise cannot(f"does not know what {name} is to do with: {', '.join(unknown)}")
    if missing := [key for key, each in known.items() if each.default is each.empty and key not in what]:
        raise cannot(f"wants to know for {name}: {', '.join(missing)}")


def refuse_homeless(home: Home, etc: Path | None) -> None:
    """The supervisor made `etc` when it began, and locked it. Raises ZenwebserverError where it is elsewhere since.

    `etc` is where it is now; None where it was removed.
    """
    if home.etc.is_dir():
        return
    gone, there = "is gone", f"Put the home back; or, to stop all that runs: kill {os.getpid()}"
    if etc:
        gone = f"was moved to {etc.parent} while it ran"
        there = "To go on there: zenwebserver stop, then zenwebserver start. Or put the home back."
    raise ZenwebserverError(
        f"The supervisor, pid {os.getpid()}, is that of {home.path}, which {gone}", hint=f"Nothing was done. {there}"
    )


def cannot(why: str) -> UsageError:
    return UsageError(
        f"This supervisor ({__version__}) {why}",
        hint="Nothing was done. To have the supervisor of the installed version: zenwebserver upgrade",
    )


async def _asked(request: Request) -> Any:
    """What is to be done in detail; None where that cannot be read."""
    try:
        return json.loads(await request.body() or b"{}")
    except (ValueError, RecursionError):
        return None


async def _told(report: Report, work: Awaitable[str], name: str) -> None:
    """Report how `work` ends, whatever happens."""
    try:
        report.done(await work)
    except ZenwebserverError as error:
        logger.error("%s: %s\n%s", name, error.message, error.detail)
        report.failed(error)
    except OSError as error:
        logger.exception("%s failed", name)
        hint = "What it had not reached is as it was. Mend that, and repeat the command."
        report.failed(ZenwebserverError(f"{name} failed: {told(error)}", hint=hint))
    except asyncio.CancelledError as error:
        report.failed(
            ZenwebserverError(
                f"{name} was cut off: the supervisor ends",
                hint="What runs goes on. To take it over, and see how it stands: zenwebserver start",
            ),
            again=isinstance(error, NotBegun),
        )
        raise
    except Exception:
        logger.exception("%s failed", name)
        report.failed(ZenwebserverError(f"{name} failed by a defect of zenwebserver", detail=traceback.format_exc()))
