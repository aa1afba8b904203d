"""The states of what is kept alive, and which may follow which."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    """Of storage, the load balancer and servers; the exchange of processes is a server's alone."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    EXCHANGING = "exchanging"  # it serves, and a successor boots
    EXCHANGED = "exchanged"  # the successor serves; the former process rests until this is settled, or goes back
    GOING_BACK = "going back"  # the former process is to serve again
    REVIVING = "reviving"  # it died; its port still takes connections, for a successor that is there in a moment
    DOWN = "down"  # it died; its port refuses; the next start is under way or waits
    STOPPING = "stopping"
    FAILED = "failed"  # it died too often; an admin must start it


SERVES = frozenset({State.RUNNING, State.EXCHANGING, State.EXCHANGED, State.GOING_BACK})
COMES_BACK = frozenset({State.REVIVING, State.DOWN})
RESTS = frozenset({State.STOPPED, State.FAILED})

_DEATHS = COMES_BACK | {State.STOPPING}
MAY_BECOME: Mapping[State, frozenset[State]] = {
    State.STOPPED: frozenset({State.STARTING, State.STOPPING, State.RUNNING}),  # RUNNING: it was found so, and adopted
    State.STARTING: frozenset({State.RUNNING, State.STOPPED, State.DOWN}),
    State.RUNNING: _DEATHS | {State.EXCHANGING},
    State.EXCHANGING: _DEATHS | {State.EXCHANGED, State.RUNNING},
    State.EXCHANGED: _DEATHS | {State.RUNNING, State.GOING_BACK},
    State.GOING_BACK: _DEATHS | {State.RUNNING},
    State.REVIVING: frozenset({State.DOWN, State.RUNNING, State.STARTING, State.STOPPING, State.FAILED}),
    State.DOWN: frozenset({State.RUNNING, State.STARTING, State.STOPPING, State.FAILED}),
    State.STOPPING: frozenset({State.STOPPED, State.RUNNING}),  # RUNNING: it was started before it had left
    State.FAILED: frozenset({State.STARTING, State.STOPPING}),
}
