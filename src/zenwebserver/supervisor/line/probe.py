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
            line = await reader.readline()
            status = line.split()
            if len(status) < 2 or not status[1].isdigit():
                raise ConnectionError("the connection was closed without an answer")
            while await reader.read(65536):
                pass
            return int(status[1])
        finally:
            writer.close()
