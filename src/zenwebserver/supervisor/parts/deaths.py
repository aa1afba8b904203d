"""How long to wait before what died is started again. Pure: the time is given."""

from __future__ import annotations

from collections import deque

TOO_MANY = 5
WITHIN = 60.0  # seconds
PAUSES = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # seconds


class Deaths:
    """The recent deaths of one process; they may be too many, unless it is started again `for_ever`."""

    def __init__(self, *, for_ever: bool = False) -> None:
        self._for_ever = for_ever
        self._times: deque[float] = deque(maxlen=TOO_MANY)
        self._in_a_row = 0

    def record(self, now: float) -> float | None:
        """One more death at `now` (seconds of any clock). The pause before the next start, or None: it is given up."""
        if self._times and now - self._times[-1] > WITHIN:
            self._in_a_row = 0
        self._times.append(now)
        self._in_a_row += 1
        if not self._for_ever and len(self._times) == TOO_MANY and now - self._times[0] <= WITHIN:
            return None
        return PAUSES[min(self._in_a_row, len(PAUSES)) - 1]

    def forget(self) -> None:
        """An admin started it: what was before does not count."""
        self._times.clear()
        self._in_a_row = 0
