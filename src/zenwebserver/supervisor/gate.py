"""The gate before the API: who asks for a change is let in, waits while supervisors are exchanged, or is sent on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SENT_ON = {
    "error": "The supervisor ends, and has not begun with this",
    "hint": "Nothing was done. Repeat the command.",
    "again": True,
    "exit": 1,
}


class Gate:
    """`over` is told when an answer to somebody is about to end. Whoever only reads is always let in."""

    def __init__(self, over: Callable[[], None]) -> None:
        self._over = over
        self._api: ASGIApp | None = None
        self._open = asyncio.Event()
        self._shut = False
        self._inside: set[object] = set()

    @property
    def empty(self) -> bool:
        """Nobody is inside who has asked for a change and has not had the whole answer."""
        return not self._inside

    @property
    def is_shut(self) -> bool:
        return self._shut

    def open(self, api: ASGIApp) -> None:
        self._api = api
        self._open.set()

    def pause(self) -> None:
        """Whoever asks for a change waits until there is an API again, or none will be."""
        self._open.clear()

    def shut(self) -> None:
        """Send on whoever waits or comes: another supervisor does what they ask for."""
        self._shut = True
        self._open.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._api
        if scope.get("method") != "POST":
            await self._api(scope, receive, send)
            return
        await self._open.wait()
        if self._shut:
            await JSONResponse(SENT_ON, status_code=503)(scope, receive, send)
        else:
            await self._let_in(self._api, scope, receive, send)

    async def _let_in(self, api: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        visitor = object()
        self._inside.add(visitor)

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body"):
                self._leave(visitor)  # before the end is sent: then whoever asked knows whether the supervisor ends
            await send(message)

        try:
            await api(scope, receive, watched)
        finally:
            self._leave(visitor)

    def _leave(self, visitor: object) -> None:
        if visitor in self._inside:
            self._inside.discard(visitor)
            self._over()
