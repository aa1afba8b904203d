"""What each thread of this process does now."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Mapping
from typing import Any

from .drain import Running


def threads(running: Mapping[int, Running]) -> list[dict[str, Any]]:
    """A thread each: its name, the request that it works on and for how long (seconds), its stack."""
    frames = sys._current_frames()
    described = []
    for thread in threading.enumerate():
        request = running.get(thread.ident or 0)
        frame = frames.get(thread.ident or 0)
        described.append(
            {
                "name": thread.name,
                "request": request.what if request else "",
                "seconds": round(time.time() - request.since, 3) if request else 0.0,
                "stack": "".join(traceback.format_stack(frame)) if frame else "",
            }
        )
    return described
