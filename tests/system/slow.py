"""A page that takes its time."""

from __future__ import annotations

import uuid
from concurrent.futures import Future, ThreadPoolExecutor

from harness import Answer, Site, wait_until


class SlowPage:
    """A server works on it from now on, for `seconds` or until it is let go. Needs the views of sites/store."""

    def __init__(self, site: Site, seconds: float, *, port: int = 0) -> None:
        self._sign = site.home / f"slow-{uuid.uuid4().hex}"
        thread = ThreadPoolExecutor(1)
        self._answer: Future[Answer] = thread.submit(
            site.get, f"/slow?seconds={seconds}&sign={self._sign}", port=port, timeout=seconds + 60
        )
        thread.shutdown(wait=False)
        wait_until(lambda: self._sign.exists() or self._answer.done(), "a server works on it")

    def let_go(self) -> None:
        self._sign.unlink(missing_ok=True)

    def answer(self) -> Answer:
        """Raises OSError or HTTPException where it was cut off."""
        return self._answer.result()

    def end(self) -> None:
        """However it ends."""
        self.let_go()
        self._answer.exception()
