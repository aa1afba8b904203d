"""A home that was removed or moved while it ran: what is said of it, and what can be done."""

from __future__ import annotations

import os
from typing import Any

from zenwebserver import left_behind
from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home


def homelessness(home: Home) -> ZenwebserverError | None:
    """What is said of a supervisor whose home was removed or moved away, and which runs all that it ran."""
    if not (supervisor := left_behind.supervisor_without_home(home)):
        return None
    place = left_behind.moved_to(supervisor)
    gone, what = (f"was moved to {place}", "is") if place else ("is gone", "was")
    there = f"ZENHOME={place} zenwebserver stop" if place else f"kill {supervisor.pid}"
    return ZenwebserverError(
        f"{home.path} {gone}, and its supervisor, pid {supervisor.pid}, still runs what {what} in it",
        hint=f"Nothing was done. Put the home back; or, to stop all that runs: {there}",
    )


def displacement(status: dict[str, Any]) -> ZenwebserverError | None:
    """What is said of a home that was moved to here while it ran; `status` is what its supervisor says."""
    former = status.get("home", "")
    if not former or os.path.exists(former):  # noqa: PTH110 - what may not be seen is not said to be gone
        return None
    return ZenwebserverError(
        f"This home was moved here from {former} while it ran: what runs goes on, but what dies does not come back",
        hint="To go on here: zenwebserver stop, then zenwebserver start. Or put it back.",
    )
