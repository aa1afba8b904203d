"""Waiting that ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from zenwebserver.errors import ZenwebserverError


@contextlib.asynccontextmanager
async def bounded(seconds: float, message: str, hint: str = "") -> AsyncIterator[None]:
    """What is inside has `seconds`. Raises ZenwebserverError with `message` where it takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise ZenwebserverError(f"{message} within {seconds:g} s", hint=hint) from None
