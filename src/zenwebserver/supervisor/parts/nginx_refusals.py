"""What nginx says when it does not take a configuration up while it runs."""

from __future__ import annotations

import re

from zenwebserver.errors import ZenwebserverError

# ngx_http_file_cache_init() and what other modules do with a zone of before: its path, its levels or its key differ.
ONLY_AT_ITS_START = re.compile(r"while previously it used|had previously different levels")


class NeedsExchange(ZenwebserverError):
    """What nginx refuses while it runs, though it would start with it: a zone or a cache that is another one now."""


def refusal(words: str) -> ZenwebserverError:
    """The error of a reload in which nginx said `words`."""
    if ONLY_AT_ITS_START.search(words):
        return NeedsExchange(
            "nginx keeps its former configuration",
            hint="It takes the new one up only when it is exchanged, which cannot be while the one before it still "
            "answers requests. Later: zenwebserver restart loadbalancer",
            detail=words,
        )
    return ZenwebserverError("nginx keeps its former configuration", hint="It goes on serving as before.", detail=words)
