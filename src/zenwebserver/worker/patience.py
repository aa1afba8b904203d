"""How long a request waits for a ZEO server that is away: a moment, counted from when it went, not from the request.

One that restarts costs no request so; one that stays away holds no thread. ZEO itself lets each of a request's calls
wait for wait-timeout, and Zope repeats the request three times. Whatever ZEO is behind it, ours or the site's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, Callable

logger = logging.getLogger(__name__)

# Seconds. A storage that is started again is back after two or three, on a busy machine after twice that.
PATIENCE_SECONDS = 8.0
# Seconds. One that is connected and does not answer may be busy with a large commit; it has longer.
SILENCE_SECONDS = 15.0
LOOK_AGAIN_SECONDS = 0.05
# ZEO waits a second, and up to one more by chance, between two tries to connect; while requests wait, only the latter.
CONNECT_POLL_SECONDS = 1.0


class StorageAway(Exception):
    """Nothing was stored. Not a TransientError: Zope would do the request again, and wait again."""


class Request(threading.local):
    """What has happened in the request of this thread."""

    away = False  # it was told that a storage is away
    finishes = 0  # commits that have ended, or may have

    def begins(self) -> None:
        self.away, self.finishes = False, 0


class Client:
    """A ClientStorage from now on; `request` is told what happens in it."""

    def __init__(self, storage: Any, request: Request) -> None:
        self.storage = storage
        self._request = request
        self._server = storage._server
        self._away_since = None if storage.is_connected() else time.monotonic()  # seconds
        self._unanswered: Any = None  # what was asked when a transaction began, and is waited for no longer
        storage._call = self._bounded(storage._call)
        storage._commit_lock = self._commits = CommitLock(storage._commit_lock, self.check)
        storage.tpc_begin = self._tpc_begin(storage.tpc_begin)
        storage.notify_disconnected = self._told(storage.notify_disconnected, self._has_gone)
        storage.notify_connected = self._told(storage.notify_connected, self._is_back)
        self._server.load_before = self._load_before(self._server.load_before)
        self._server.tpc_finish = self._tpc_finish(self._server.tpc_finish)

    @property
    def is_asked_first(self) -> bool:
        """Whether a transaction cannot begin without it (server-sync); else its cache may answer a request."""
        return bool(self.storage.server_sync)

    @property
    def left(self) -> float:
        """Seconds for which requests wait for it, were it asked now."""
        since = self._away_since
        if since is None or self.storage.is_connected():
            return PATIENCE_SECONDS
        return max(0.0, since + PATIENCE_SECONDS - time.monotonic())

    def wait(self) -> None:
        """Until it is there. Raises StorageAway; at once where others have waited for an answer in vain."""
        deadline = time.monotonic() + PATIENCE_SECONDS  # also where ZEO has not told that it went
        while not self.storage.is_connected():
            self.check()
            if time.monotonic() > deadline:
                raise self._is_away()
            time.sleep(LOOK_AGAIN_SECONDS)
        if self._unanswered is not None and not self._unanswered.done():
            raise self._is_away()

    def check(self) -> None:
        """Raises StorageAway where nobody waits for it any more."""
        if self.left < LOOK_AGAIN_SECONDS and not self.storage.is_connected():
            self._poll_every(CONNECT_POLL_SECONDS)
            raise self._is_away()

    def _is_away(self) -> StorageAway:
        self._request.away = True
        return StorageAway(f"storage {self.storage.__name__} is away")

    def _has_gone(self) -> None:
        if self._away_since is None:
            self._away_since = time.monotonic()
            self._poll_every(0.0)
            logger.warning("Storage %s is away", self.storage.__name__)

    def _is_back(self) -> None:
        self._away_since = None
        logger.info("Storage %s is back", self.storage.__name__)

    def _poll_every(self, seconds: float) -> None:
        client = self._server.client
        for each in (client, *client.protocols):
            each.connect_poll = seconds

    def _bounded(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def bounded(method: str, *arguments: Any, **how: Any) -> Any:
            if how.get("timeout") is None:
                how["timeout"] = self.left
            asks_first = method == "ping" and hasattr(self._server, "io_call")  # ZEO 5.4 and later
            with self._waiting(raises=method != "tpc_abort"):  # it must come to its end, and knows ClientDisconnected
                return self._ask(call, **how) if asks_first else call(method, *arguments, **how)

        return bounded

    def _ask(self, call: Callable[..., Any], **how: Any) -> Any:
        """Whether it is there, when a transaction begins, and nothing is done yet. Raises StorageAway."""
        answer = call("ping", **how, wait=False)
        try:
            return answer.result(SILENCE_SECONDS)
        except (TimeoutError, asyncio.TimeoutError):
            self._unanswered = answer
            logger.warning("Storage %s has not answered for %g s", self.storage.__name__, SILENCE_SECONDS)
            raise self._is_away() from None

    def _load_before(self, load: Callable[..., Any]) -> Callable[..., Any]:
        def load_before(*arguments: Any) -> Any:
            self._server.timeout = self.left  # the same for whoever asks at the same time
            with self._waiting():
                return load(*arguments)

        return load_before

    @contextlib.contextmanager
    def _waiting(self, *, raises: bool = True) -> Iterator[None]:
        from ZEO.Exceptions import ClientDisconnected

        try:
            yield
        except ClientDisconnected:
            if raises:
                self.check()
            raise

    def _tpc_begin(self, begin: Callable[..., None]) -> Callable[..., None]:
        def tpc_begin(*arguments: Any, **how: Any) -> None:
            with self._commits.reserved():
                begin(*arguments, **how)

        return tpc_begin

    def _tpc_finish(self, finish: Callable[..., Any]) -> Callable[..., Any]:
        def tpc_finish(*arguments: Any, **how: Any) -> Any:
            from ZEO.Exceptions import ClientDisconnected

            self._request.finishes += 1
            try:
                return finish(*arguments, **how)
            except ClientDisconnected:  # it is not stored; what cannot be told is another error (zodb/asking.py)
                self._request.finishes -= 1
                raise

        return tpc_finish

    @staticmethod
    def _told(notify: Callable[..., None], ours: Callable[[], None]) -> Callable[..., None]:
        def told(*arguments: Any) -> None:
            ours()
            notify(*arguments)

        return told


class CommitLock:
    """ZEO's lock for commits. Whoever has it may wait for the storage; the others wait no longer than they would.

    It is had before ZEO's tpc_begin marks the transaction as begun: where that gives up instead, the end of the
    transaction that follows would release the lock, which is another's.
    """

    def __init__(self, lock: Any, check: Callable[[], None]) -> None:
        self._lock = lock
        self._check = check
        self._reserved_by = 0  # a thread that has it, but has not asked for it yet
        self.release = lock.release

    @contextlib.contextmanager
    def reserved(self) -> Iterator[None]:
        """Raises StorageAway."""
        while not self._lock.acquire(timeout=LOOK_AGAIN_SECONDS):
            self._check()
        self._reserved_by = threading.get_ident()
        try:
            yield
        finally:
            if self._taken():
                self._lock.release()

    def acquire(self) -> bool:
        return self._taken() or bool(self._lock.acquire())

    def _taken(self) -> bool:
        if self._reserved_by != threading.get_ident():
            return False
        self._reserved_by = 0
        return True


class Clients:
    """All ClientStorages of this process, those that are opened later too."""

    def __init__(self, databases: Callable[[], Iterable[Any]]) -> None:
        self.request = Request()
        self._databases = databases
        self._known: dict[int, tuple[Any, list[Client]]] = {}  # id of a database -> itself and its clients
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Client]:
        for database in list(self._databases()):
            if id(database) not in self._known:
                self._meet(database)
        for _, clients in list(self._known.values()):
            yield from clients

    def _meet(self, database: Any) -> None:
        with self._lock:
            if id(database) not in self._known:
                clients = [Client(storage, self.request) for storage in client_storages(database.storage)]
                self._known[id(database)] = database, clients

    def wait(self) -> None:
        """Until all are there without which no transaction can begin. Raises StorageAway."""
        for client in self:
            if client.is_asked_first:
                client.wait()


def client_storages(storage: Any) -> Iterator[Any]:
    """Those among a storage and what it wraps (compression, a DemoStorage's two)."""
    try:
        from ZEO.ClientStorage import ClientStorage
    except ImportError:  # the site uses none
        return
    seen: set[int] = set()
    found = [storage]
    while found:
        each = found.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, ClientStorage):
            yield each
            continue
        content = getattr(each, "__dict__", {})
        found += [content.get(name) for name in ("base", "changes", "_storage", "storage")]
