"""What an operation says while it goes on: a line of JSON each, and how they may end."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

from zenwebserver.errors import ZenwebserverError, told


class CutOff(Exception):
    """The supervisor went away in the middle of what it was asked: how that ended is not known."""


class NotBegun(Exception):
    """The supervisor went away, or sent us on, before it had begun with what it was asked."""


def events_of(answer: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """Raises NotBegun, CutOff, ZenwebserverError."""
    if answer.status == http.client.SERVICE_UNAVAILABLE:
        raise NotBegun("it ends")
    if answer.status != http.client.OK:
        raise ZenwebserverError(f"The supervisor answers {answer.status}: {answer.read().decode()}")
    begun = False
    try:
        for line in _lines(answer):
            begun = True
            event: dict[str, Any] = json.loads(line)
            if event.get("again"):
                raise NotBegun(str(event["error"]))
            yield event
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a line that is cut
        raise CutOff(told(error) if isinstance(error, OSError) else "it ended") from error
    if not begun:
        raise NotBegun("it ends")


def _lines(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """Raises HTTPException where the answer is cut off, which its own iterator takes for the end."""
    received = b""
    while part := answer.read1():
        *lines, received = (received + part).split(b"\n")
        yield from lines
    if received:
        yield received
