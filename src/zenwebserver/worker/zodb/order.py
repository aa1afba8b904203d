"""In storage: who asks whether there is something new hears of it before the answer.

A server asks so when a request begins (server-sync). ZEO answers whoever has committed at once, and tells the others in
the next round of its loop. A question that came in the same round was answered before: the visitor's next request, on
another server, did not see what it had just stored.
"""

from __future__ import annotations

from typing import Any

from ZEO.asyncio.server import Delay
from ZEO.StorageServer import StorageServer, ZEOStorage

from .overrides import Method, Override

CURE = "what was stored through one server is read by the next request through any other"


def overrides() -> list[Override]:
    tells = frozenset({"async_threadsafe", "invalidateTransaction"})
    return [
        Override(ZEOStorage, "ping", ("self",), frozenset(), _ping),
        Override(ZEOStorage, "notify_connected", ("self",), frozenset({"call_soon_threadsafe"})),
        Override(StorageServer, "invalidate", ("self", "zeo_storage"), tells),
    ]


def _ping(original: Method) -> Method:
    del original  # it does nothing

    def ping(self: Any) -> Any:
        answer = Delay()
        self.call_soon_threadsafe(answer.reply, None)  # after all that this client is to be told already
        return answer

    return ping
