"""The supervisor's API: HTTP and JSON on a Unix socket of the home; changes stream an event a step, a line each."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from zenwebserver import __version__
from zenwebserver.errors import ZenwebserverError
from zenwebserver.supervisor.operations import attach, configure, deploy, init, restart, start, stop
from zenwebserver.supervisor.operations.session import session
from zenwebserver.supervisor.report import Event, Report
from zenwebserver.supervisor.snapshot import snapshot
from zenwebserver.supervisor.supervisor import Supervisor

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 5.0

OPERATIONS: dict[str, Callable[..., Awaitable[str]]] = {
    "init": init.init,
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
    """`ended` is called after each change, with the supervisor perhaps idle; `upgrade` makes room for the next one."""

    def __init__(self, supervisor: Supervisor, ended: Callable[[], None], upgrade: Callable[[], None]) -> None:
        self._supervisor = supervisor
        self._ended = ended
        self._upgrade = upgrade
        self._running: set[asyncio.Task[None]] = set()
        self.app = Starlette(
            routes=[
                Route("/status", self._status, methods=["GET"]),
                Route("/servers/{number:int}/threads", self._threads, methods=["GET"]),
                Route("/upgrade", self._make_room, methods=["POST"]),
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
            return JSONResponse({"threads": await server.worker.threads(ANSWER_SECONDS)})
        except ZenwebserverError as error:
            return JSONResponse({"error": error.message, "hint": error.hint})

    async def _make_room(self, _: Request) -> Response:
        async with self._supervisor.changes.make("upgrade"):
            self._upgrade()
        return JSONResponse({})

    async def _operation(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in OPERATIONS:
            return JSONResponse({"error": f"No such operation: {name}"}, status_code=404)
        what = json.loads(await request.body() or b"{}")
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        # A task of its own: whoever asked may go away, the change goes on to its end.
        task = asyncio.create_task(self.operate(name, what, Report(events.put_nowait), lambda: events.put_nowait(None)))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return StreamingResponse(_lines(events), media_type="application/x-ndjson")

    async def operate(
        self, name: str, what: dict[str, Any], report: Report, told: Callable[[], None] = lambda: None
    ) -> None:
        """Do it, as the only change, and tell how it ended."""
        words = " ".join([name, *map(str, what.get("targets", ()))])
        try:
            async with self._supervisor.changes.make(words, report.waits):
                logger.info("Begin: %s %s", name, what)
                await _told(report, OPERATIONS[name](self._supervisor, report, **what), name)
        finally:
            self._ended()
            told()

    async def _session(self, request: Request) -> Response:
        kind = request.path_params["kind"]
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        task = asyncio.create_task(self._hold(kind, request, Report(events.put_nowait), events))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return StreamingResponse(_lines(events), media_type="application/x-ndjson")

    async def _hold(self, kind: str, request: Request, report: Report, events: asyncio.Queue[Event | None]) -> None:
        """Keep the session until whoever asked for it hangs up, or dies."""

        async def until_hung_up() -> str:
            async with session(self._supervisor, report, kind):
                while (await request.receive())["type"] != "http.disconnect":
                    pass
            return ""

        try:
            await _told(report, until_hung_up(), kind)
        finally:
            self._ended()
            events.put_nowait(None)


async def _told(report: Report, work: Awaitable[str], name: str) -> None:
    """Report how `work` ends, whatever happens."""
    try:
        report.done(await work)
    except ZenwebserverError as error:
        logger.error("%s: %s\n%s", name, error.message, error.detail)
        report.failed(error)
    except OSError as error:
        logger.exception("%s failed", name)
        report.failed(ZenwebserverError(f"{name} failed: {error}", hint="What it had not reached is as it was."))
    except Exception:
        logger.exception("%s failed", name)
        report.failed(ZenwebserverError(f"{name} failed by a defect of zenwebserver", detail=traceback.format_exc()))


async def _lines(events: asyncio.Queue[Event | None]) -> AsyncIterator[str]:
    while (event := await events.get()) is not None:
        yield json.dumps(event) + "\n"
