"""What each thread of this process does now."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Mapping

from .drain import Running
from .messages import ThreadNow

# Of each stack, the innermost; a recursion's would be longer than a message may be.
FRAMES = 100


def threads(running: Mapping[int, Running]) -> tuple[ThreadNow, ...]:
    """A thread each, with the request that it works on."""
    frames = sys._current_frames()
    described = []
    for thread in threading.enumerate():
        request = running.get(thread.ident or 0)
        frame = frames.get(thread.ident or 0)
        described.append(
            ThreadNow(
                name=thread.name,
                request=request.what if request else "",
                seconds=round(time.monotonic() - request.since, 3) if request else 0.0,
                stack="".join(traceback.format_stack(frame, FRAMES)) if frame else "",
            )
        )
    return tuple(described)
