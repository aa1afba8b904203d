"""Clients that keep their connections and notice every failed, lost or doubled request."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from harness import WAIT_SECONDS


@dataclass(frozen=True)
class Failure:
    """One request that did not end with 200. `words in failure` looks for words in its text."""

    client: int
    method: str
    kind: str  # the status, "502"; or the exception's name, "ConnectionRefusedError"
    began: float  # seconds, time.time()
    detail: str
    ended: float = 0.0

    def __str__(self) -> str:
        return f"{self.began:.3f} client {self.client} {self.method} {self.kind} {self.detail}"

    __repr__ = __str__

    def __contains__(self, words: str) -> bool:
        return words in str(self)


@dataclass
class Outcome:
    """What the clients of one load saw."""

    answered: int = 0
    stored: set[str] = field(default_factory=set)  # ids whose POST was answered well
    failures: list[Failure] = field(default_factory=list)


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
        posts: str = "/store",
    ) -> None:
        self.outcome = Outcome()
        self._address = (host, port)
        self._pause = pause
        self._pages = pages
        self._posts = posts
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._client, args=(number,)) for number in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()  # each request has its own time limit

    def wait_for(self, requests: int, seconds: float = WAIT_SECONDS) -> None:
        """Until so many more requests are answered."""
        goal = self.outcome.answered + requests
        deadline = time.monotonic() + seconds
        while self.outcome.answered < goal:
            assert time.monotonic() < deadline, (
                f"only {self.outcome.answered} of {goal} answered; {self.outcome.failures[:3]}"
            )
            time.sleep(0.01)

    def wait_for_stored(self, ids: int, seconds: float = WAIT_SECONDS) -> None:
        """Until so many more ids are stored."""
        goal = len(self.outcome.stored) + ids
        deadline = time.monotonic() + seconds
        while len(self.outcome.stored) < goal:
            assert time.monotonic() < deadline, (
                f"only {len(self.outcome.stored)} of {goal} stored; {self.outcome.failures[-3:]}"
            )
            time.sleep(0.01)

    def _client(self, number: int) -> None:
        connection = http.client.HTTPConnection(*self._address, timeout=WAIT_SECONDS)
        for method, page in zip(itertools.cycle(("GET", "POST")), self._in_turn(), strict=False):
            if self._ending.is_set():
                break
            ident, began = uuid.uuid4().hex, time.time()
            kind, detail = _ask(connection, method, page.format(ident=ident), ident)
            with self._lock:
                self.outcome.answered += 1
                if kind != "200":
                    self.outcome.failures.append(Failure(number, method, kind, began, detail, time.time()))
                elif method == "POST":
                    self.outcome.stored.add(ident)
            if self._pause:
                time.sleep(self._pause)
        connection.close()

    def _in_turn(self) -> Iterator[str]:
        """The pages that are fetched, and what is posted to between them."""
        for page in itertools.cycle(self._pages):
            yield page
            yield self._posts


def _ask(connection: http.client.HTTPConnection, method: str, path: str, ident: str) -> tuple[str, str]:
    """The status, or the exception's name, and its words."""
    form = {"Content-Type": "application/x-www-form-urlencoded"} if method == "POST" else {}
    try:
        connection.request(method, path, f"id={ident}" if method == "POST" else None, form)
        answer = connection.getresponse()
        return str(answer.status), repr(answer.read()[:200])
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return type(error).__name__, str(error)
