"""A commit whose end was not heard, because storage went away, is asked for when storage is back.

ZEO raises ClientDisconnected then, for which Zope repeats the request, though half of these transactions are stored.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import logging
import time
from typing import Any, Callable

from ZEO.asyncio.client import ClientRunner
from ZEO.ClientStorage import ClientStorage
from ZEO.Exceptions import ClientDisconnected
from ZODB.blob import is_blob_record
from ZODB.POSException import StorageError
from ZODB.TimeStamp import TimeStamp
from ZODB.utils import z64

from .outcome import CannotBeTold, Sent, tid_of
from .overrides import Method, Override

logger = logging.getLogger(__name__)

CURE = "a commit that storage was lost in is not repeated where it is stored already"

# Seconds. Requests that have sent nothing wait less (patience.py): this one may be stored, and its visitor is to know.
ASK_SECONDS = 60.0
AGAIN_SECONDS = 0.2
# Seconds by which the clocks of two machines that keep time may differ; storage needs longer to come back.
CLOCKS_DIFFER = 1.0
# Objects of each kind that are looked at; one would do, were there no conflicts that the storage resolves.
WITNESSES = 8
EVIDENCE = "_zenwebserver_witnesses"
# Three classes before Python 3.11.
TIMEOUTS = (TimeoutError, asyncio.TimeoutError, concurrent.futures.TimeoutError)


class OutcomeUnknown(StorageError):  # type: ignore[misc]
    """Not a TransientError, so that Zope does not repeat the request: it is perhaps stored."""


def overrides() -> list[Override]:
    return [
        Override(
            ClientStorage, "store", ("self", "oid", "serial", "data", "version", "txn"), frozenset({"storea"}), _store
        ),
        Override(ClientRunner, "tpc_finish", ("self", "tid", "updates", "f"), frozenset({"client"}), _tpc_finish),
    ]


def _store(original: Method) -> Method:
    def store(self: Any, oid: bytes, serial: bytes | None, data: bytes, version: str, txn: Any) -> Any:
        result = original(self, oid, serial, data, version, txn)
        is_new = serial is None or serial == z64
        witnesses = txn.data(self).__dict__.setdefault(EVIDENCE, {True: set(), False: set()})[is_new]
        if len(witnesses) < WITNESSES:
            witnesses.add(oid)
        return result

    return store


def _tpc_finish(original: Method) -> Method:
    def tpc_finish(self: Any, tid: int, updates: Any, f: Callable[[bytes], None], **kw: Any) -> Any:
        if kw or not self.is_connected():  # ZEO's own tests; or it cannot even be sent
            return original(self, tid, updates, f, **kw)
        since, sent = self.client.cache.getLastTid(), time.time()

        def told(committed: bytes | None) -> None:
            if committed is not None:  # ZEO before 5.4 sends it again, and storage does not know it any more
                f(committed)

        try:
            committed = original(self, tid, updates, told)
        except ClientDisconnected as error:
            lost = error
        else:
            if committed is not None:
                return committed
            lost = ClientDisconnected("storage does not know the transaction")
        committed = Question(self, updates, since or z64, sent).answer(lost)
        f(committed)
        return committed

    return tpc_finish


class Question:
    """Whether a transaction is stored that was sent at `sent` (time.time()), after all up to the tid `since`.

    ZEO's lock for commits is held meanwhile, so no other thread of this process uses the connection to write.
    """

    _numbers = itertools.count(1)

    def __init__(self, runner: Any, updates: Any, since: bytes, sent: float) -> None:
        self._runner = runner
        self._updates = updates
        self._since = since
        self._latest = _tid_at(sent + CLOCKS_DIFFER) if since < _tid_at(sent) else b"\xff" * 8  # its clock runs ahead
        self._deadline = time.monotonic() + ASK_SECONDS

    def answer(self, lost: ClientDisconnected) -> bytes:
        """The tid under which it is stored. Raises `lost` where it is not, OutcomeUnknown where it cannot be told."""
        while True:
            try:
                tid = self._ask()
                break
            except CannotBeTold as error:
                raise _unknown(str(error)) from lost
            except (ClientDisconnected, *TIMEOUTS) as error:
                if not self._may_ask_again():
                    raise _unknown(f"storage has not come back within {ASK_SECONDS:g} s") from error
                time.sleep(AGAIN_SECONDS)
            except Exception as error:
                raise _unknown(f"storage answers {type(error).__name__}: {error}") from error
        if tid is None:
            logger.info("Storage was lost in a commit, which is not stored")
            raise lost
        logger.info("Storage was lost in a commit, which is stored")
        return tid

    def _may_ask_again(self) -> bool:
        return not self._runner.client.closed and time.monotonic() < self._deadline

    def _ask(self) -> bytes | None:
        """While this is the transaction that may write: the lost one has ended, whatever the network still carries."""
        number = next(self._numbers)
        self._call("tpc_begin", number, b"", b"", {}, None, " ")
        try:
            self._call("vote", number)
            if self._call("lastTransaction") <= self._since:
                return None
            return tid_of(self._sent(), lambda oid, tid: self._call("loadBefore", oid, tid), self._since, self._latest)
        finally:
            self._call("tpc_abort", number)

    def _sent(self) -> list[Sent]:
        witnesses = self._updates.__dict__.get(EVIDENCE, {True: set(), False: set()})
        found, others = {}, 0
        for oid, data, resolved in self._updates:
            new = oid in witnesses[True]
            if new or oid in witnesses[False]:
                says_nothing = resolved or (not new and is_blob_record(data))
                found[oid] = Sent(oid, None if says_nothing else data, new)
            elif data is None and others < WITNESSES:  # undone or deleted
                others += 1
                found[oid] = Sent(oid, None, new=False)
        return list(found.values())

    def _call(self, method: str, *arguments: Any) -> Any:
        left = max(self._deadline - time.monotonic(), AGAIN_SECONDS)
        if hasattr(self._runner, "io_call"):  # ZEO 5.4 and later: `timeout` is for the connection alone
            return self._runner.call(method, *arguments, timeout=left, wait=False).result(left + AGAIN_SECONDS)
        return self._runner.call(method, *arguments, timeout=left)


def _unknown(why: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"Storage was lost while it stored this transaction, and it cannot be told whether it is stored: {why}. "
        "It was not repeated; look whether what it was to do is done, before you do it again."
    )


def _tid_at(seconds: float) -> bytes:
    """The tid of a transaction at that time.time()."""
    raw: bytes = TimeStamp(*time.gmtime(seconds)[:5], seconds % 60).raw()
    return raw
