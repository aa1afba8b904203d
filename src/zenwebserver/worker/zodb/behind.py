"""A server that knows of a later transaction than storage itself comes back all the same, and forgets what it read.

ZEO's client refuses to ("Server behind client"), until somebody else has committed. FileStorage, killed in a commit,
counts what it then throws away as its last transaction, until it is started once more (read_index in FileStorage.py);
a server that starts meanwhile believes it. So it is too with a Data.fs that was put back under running servers, and
with ZEO before 5.4 and ZEO_MTACCEPTOR, which announces a transaction before its last byte is written, as no other does.
"""

from __future__ import annotations

import logging
from typing import Any

from ZEO.asyncio import client

from .overrides import Method, Override

logger = logging.getLogger(__name__)

CURE = "a server comes back to a storage that knows less than it"


def overrides() -> list[Override]:
    owner = getattr(client, "ClientIO", None) or client.Client  # before ZEO 5.4
    return [Override(owner, "verify", ("self", "server_tid"), frozenset({"cache", "getLastTid", "clear"}), _verify)]


def _verify(original: Method) -> Method:
    def verify(self: Any, server_tid: bytes | None) -> Any:
        known = self.cache.getLastTid()
        if server_tid is not None and known and known > server_tid:
            logger.warning(
                "Storage knows transactions up to %s, this server up to %s: the database is an older one, or another."
                " What was read from it before is forgotten.",
                server_tid.hex(),
                known.hex(),
            )
            self.cache.clear()
            self.client.invalidateCache()
        return original(self, server_tid)

    return verify
