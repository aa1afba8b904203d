"""HTTP over a Unix socket, asked from within the loop that answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any


class Asked:
    """One request, on a connection of its own. `answer` waits for the whole answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def status(self) -> int:
        """Wait for the head of the answer."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        return int(head.split()[1])

    async def line(self) -> str:
        """The next line of the body, whose chunks are a line each."""
        while not (line := await self._reader.readline()).startswith(b"{"):
            assert line, "the answer has ended"
        return line.decode().strip()

    async def rest(self) -> str:
        text = (await self._reader.read()).decode()
        self.hang_up()
        return text

    async def answer(self) -> tuple[int, str]:
        """Status and body; 0 where it was hung up on before the head."""
        try:
            status = await self.status()
        except asyncio.IncompleteReadError:
            self.hang_up()
            return 0, ""
        return status, await self.rest()

    async def events(self) -> list[dict[str, Any]]:
        """Those that are still to come."""
        return [json.loads(line) for line in (await self.rest()).splitlines() if line.startswith("{")]

    def hang_up(self) -> None:
        with contextlib.suppress(ConnectionError):
            self._writer.close()


async def ask(socket: Path, method: str, path: str, body: str = "") -> Asked:
    reader, writer = await asyncio.open_unix_connection(socket)
    head = f"{method} {path} HTTP/1.1\r\nHost: home\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write((head + body).encode())
    return Asked(reader, writer)
