"""What visitors may lose when a process is killed, and nothing else (docs/design.md)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from load import Failure

BOTH = frozenset({"GET", "POST"})
# How a client sees that its connection was cut: while it sent, before the answer, or in the middle of it.
CUT = frozenset({"BrokenPipeError", "ConnectionResetError", "RemoteDisconnected", "IncompleteRead"})


@dataclass(frozen=True)
class Loss:
    """Failures that are in order: of these methods and kinds, and of each client at most `each`."""

    methods: frozenset[str]
    kinds: frozenset[str]
    each: float


# A POST is not sent twice; a GET is asked of another server.
POST_IN_THE_SERVER = Loss(frozenset({"POST"}), frozenset({"502"}), 1)
ANSWER_CUT = Loss(BOTH, frozenset({"IncompleteRead"}), 1)  # a part of it was sent already
IN_THE_SERVER = (POST_IN_THE_SERVER, ANSWER_CUT)
UNAVAILABLE = Loss(BOTH, frozenset({"502"}), float("inf"))  # there is no other server
CONNECTION_CUT = Loss(BOTH, CUT, 1)
REFUSED = Loss(BOTH, frozenset({"ConnectionRefusedError"}), float("inf"))


def beyond(losses: Iterable[Loss], failures: Iterable[Failure], back: float) -> list[Failure]:
    """The failures that are none of `losses`, or began when all was `back` already (time.time())."""
    surplus = []
    left = {loss: dict[int, float]() for loss in losses}
    for failure in failures:
        loss = _which(failure, list(left))
        if loss is None or failure.began > back:
            surplus.append(failure)
            continue
        clients = left[loss]
        clients[failure.client] = clients.get(failure.client, loss.each) - 1
        if clients[failure.client] < 0:
            surplus.append(failure)
    return surplus


def _which(failure: Failure, losses: Sequence[Loss]) -> Loss | None:
    return next((loss for loss in losses if failure.method in loss.methods and failure.kind in loss.kinds), None)
