"""What an operation tells while it goes on: events, one a step, that stream to whoever asked for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from zenwebserver.errors import NeedsConsent, ZenwebserverError

Event = dict[str, Any]


class Report:
    """Steps begin and end well or not; notes are said; the operation's end is the last event."""

    def __init__(self, tell: Callable[[Event], None]) -> None:
        self._tell = tell

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        self._tell({"begin": what})
        try:
            yield
        except BaseException:
            self._tell({"end": what, "ok": False})
            raise
        self._tell({"end": what, "ok": True})

    def note(self, text: str) -> None:
        """Something that the admin should know."""
        self._tell({"note": text})

    def waits(self, whose: str) -> None:
        """Another change is under way."""
        self.note(f"Waiting for: {whose}")

    def event(self, **event: Any) -> None:
        self._tell(event)

    def done(self, text: str) -> None:
        self._tell({"done": text, "exit": 0})

    def failed(self, error: ZenwebserverError, *, again: bool = False) -> None:
        """`again`: nothing was done, and whoever asked asks again."""
        self._tell(
            {
                "error": error.message,
                "hint": error.hint,
                "detail": error.detail,
                "ask": isinstance(error, NeedsConsent),
                "again": again,
                "exit": int(error.exit_code),
            }
        )
