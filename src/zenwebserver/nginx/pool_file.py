"""Reads back what config.py writes of the pool: where nginx sends visitors."""

from __future__ import annotations

import re

SERVER = re.compile(r"^\s*server (\S+:\d+) max_fails=0;", re.MULTILINE)
UPSTREAM = re.compile(r"^upstream zope \{$", re.MULTILINE)


def addresses(text: str) -> frozenset[str] | None:
    """Those to which nginx sends visitors by this etc/nginx-zope.conf; None where that cannot be told."""
    return frozenset(SERVER.findall(text)) if UPSTREAM.search(text) else None
