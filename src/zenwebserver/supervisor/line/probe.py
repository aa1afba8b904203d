"""One visit to a server's own port."""

from __future__ import annotations

import asyncio


async def probe(address: tuple[str, int], seconds: float) -> int:
    """Ask the server at `address` for its root and return the status. Raises OSError where no answer comes."""
    host, port = address
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
            line = await _first_line(reader)
            if not line:
                raise ConnectionError("the connection was closed without an answer")
            status = line.split()
            if len(status) < 2 or not status[0].startswith(b"HTTP/") or not status[1].isdigit():
                raise ConnectionError(f"what it answered is no HTTP: {line!r:.100}")
            while await reader.read(65536):
                pass
            return int(status[1])
        finally:
            writer.close()


async def _first_line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ValueError as error:  # it has no end
        raise ConnectionError(str(error)) from error
