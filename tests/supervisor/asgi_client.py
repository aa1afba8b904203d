"""Asks an ASGI application as uvicorn does for a command; a client that goes away included."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

from starlette.applications import Starlette

Message = MutableMapping[str, Any]


class Client:
    """One request; `await` returns when the answer is complete."""

    def __init__(self, app: Starlette, method: str, path: str, body: bytes = b"") -> None:
        self.status = 0
        self.received = b""
        self._body: bytes | None = body
        self._gone = asyncio.Event()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": [],
        }
        self.task = asyncio.create_task(app(scope, self._receive, self._send), name=f"{method} {path}")

    async def answered(self) -> Client:
        await self.task
        return self

    def goes_away(self) -> None:
        self._gone.set()

    @property
    def content(self) -> Any:
        return json.loads(self.received)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.received.decode().splitlines()]

    @property
    def last(self) -> dict[str, Any]:
        """The event that tells how it ended; there is one, and nothing comes after it."""
        assert [event for event in self.events if "exit" in event] == self.events[-1:], self.events
        return self.events[-1]

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._gone.is_set():
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.received += message.get("body", b"")
