"""The ZEO client beneath a connection to the database."""

from __future__ import annotations

from typing import Any


def zeo_client(connection: Any) -> Any:
    """Inside whatever wraps it (ZODB's own adapter, compression, encryption); None where it is another storage."""
    storage = connection._normal_storage
    for _ in range(10):  # no site wraps its storage so often
        if storage is None or hasattr(storage, "_connection_generation"):
            return storage
        storage = getattr(storage, "_storage", None) or getattr(storage, "base", None)
    return None
