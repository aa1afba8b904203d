"""What became of a transaction whose end nobody heard: read from the revisions of its objects, nothing else.

From when the storage has voted until the end, the transaction alone may write. So it is stored if, and only if, its
objects have a revision that is newer than the last transaction before it, and that is theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Optional

MAXTID = b"\x7f" + b"\xff" * 7

# An object's newest revision before a tid: data, its tid, the next one's. None, or a POSKeyError, where there is none.
LoadBefore = Callable[[bytes, bytes], Optional[tuple[bytes, bytes, Optional[bytes]]]]


class CannotBeTold(Exception):
    """The text says why, in words that follow "it cannot be told whether it is stored: "."""


@dataclass(frozen=True)
class Sent:
    """An object of the transaction as it was sent. `data` is None where what is stored is not known, or says nothing:
    a conflict that the storage resolved, something undone, a blob's record, which is the same for all its contents.
    """

    oid: bytes
    data: bytes | None
    new: bool


@dataclass(frozen=True)
class _Traces:
    tids: frozenset[bytes]  # revisions that can be the transaction's
    ruled_out: bool  # none is, and none has been removed


def tid_of(sent: list[Sent], load_before: LoadBefore, since: bytes, latest: bytes) -> bytes | None:
    """The tid under which it is stored; None where it is not. Raises CannotBeTold, and what `load_before` raises.

    It is none of the transactions up to `since`, nor one after `latest`: equal data of those is another's.
    """
    common: frozenset[bytes] | None = None
    for each in sent:
        traces = _traces(each, load_before, since)
        if traces.ruled_out:
            return None
        common = traces.tids if common is None else common & traces.tids
    if common is None or all(each.data is None for each in sent):
        raise CannotBeTold("it has undone or deleted something, or changed only what others have changed too")
    found = [tid for tid in common if tid <= latest]
    if not found:
        raise CannotBeTold("its objects were changed again, packed or removed since")
    return min(found)


def _traces(sent: Sent, load_before: LoadBefore, since: bytes) -> _Traces:
    from ZODB.POSException import POSKeyError

    tids: set[bytes] = set()
    seen, before = False, MAXTID
    while True:
        try:
            found = load_before(sent.oid, before)
        except POSKeyError:
            found = None
        if found is None:  # older ones, if there were any, are packed; a new object has none
            return _Traces(frozenset(tids), ruled_out=sent.new and not seen)
        data, tid, _ = found
        if tid <= since:
            return _Traces(frozenset(tids), ruled_out=not tids)
        seen = True
        if sent.data is None or data == sent.data:
            tids.add(tid)
        before = tid
