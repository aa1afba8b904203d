"""Clients that keep their connections and notice every failed, lost or doubled request."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Outcome:
    """What the clients of one load saw."""

    answered: int = 0
    stored: set[str] = field(default_factory=set)  # ids whose POST was answered well
    failures: list[str] = field(default_factory=list)


class Load:
    """`clients` threads, each on one keep-alive connection, GET and POST in turn, from `with` to its end.

    `pages` are what is fetched, one after the other; `{ident}` in them is an id that nobody has stored.
    """

    def __init__(
        self,
        port: int,
        clients: int = 8,
        host: str = "127.0.0.1",
        pause: float = 0.0,
        pages: Sequence[str] = ("/count?id={ident}",),
    ) -> None:
        self.outcome = Outcome()
        self._address = (host, port)
        self._pause = pause
        self._pages = pages
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._client, name=f"client-{n}") for n in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(60)

    def wait_for(self, requests: int, seconds: float = 60) -> None:
        """Until so many more requests are answered."""
        goal = self.outcome.answered + requests
        deadline = time.monotonic() + seconds
        while self.outcome.answered < goal:
            assert time.monotonic() < deadline, (
                f"only {self.outcome.answered} of {goal} answered; {self.outcome.failures[:3]}"
            )
            time.sleep(0.01)

    def _client(self) -> None:
        connection = http.client.HTTPConnection(*self._address, timeout=60)
        post = False
        pages = itertools.cycle(self._pages)
        while not self._ending.is_set():
            ident = uuid.uuid4().hex
            try:
                if post:
                    connection.request(
                        "POST", "/store", f"id={ident}", {"Content-Type": "application/x-www-form-urlencoded"}
                    )
                else:
                    connection.request("GET", next(pages).format(ident=ident))
                answer = connection.getresponse()
                body = answer.read()
                failure = "" if answer.status == 200 else f"{answer.status} {body[:200]!r}"
            except (OSError, http.client.HTTPException) as error:
                failure = repr(error)
                connection.close()
            with self._lock:
                self.outcome.answered += 1
                if failure:
                    self.outcome.failures.append(f"{time.time():.3f} {'POST' if post else 'GET'} {failure}")
                elif post:
                    self.outcome.stored.add(ident)
            post = not post
            if self._pause:
                time.sleep(self._pause)
        connection.close()
