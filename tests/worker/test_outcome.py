"""What became of a transaction, read from the revisions of its objects."""

from __future__ import annotations

import pytest
from ZODB.POSException import POSKeyError

from zenwebserver.worker.zodb.outcome import CannotBeTold, Sent, tid_of

Revisions = dict[bytes, dict[int, bytes]]  # of each object: tid -> data
SINCE, LATEST = 10, 20
NEW, OLD = b"new", b"old"


def tid(number: int) -> bytes:
    return number.to_bytes(8, "big")


def asked(sent: list[Sent], revisions: Revisions) -> int | None:
    def load_before(oid: bytes, before: bytes) -> tuple[bytes, bytes, bytes | None] | None:
        if not revisions.get(oid):
            raise POSKeyError(oid)
        found = [number for number in revisions[oid] if tid(number) < before]
        return (revisions[oid][max(found)], tid(max(found)), None) if found else None

    found = tid_of(sent, load_before, tid(SINCE), tid(LATEST))
    return int.from_bytes(found, "big") if found else None


CREATED, CHANGED = Sent(NEW, b"n", new=True), Sent(OLD, b"o", new=False)
RESOLVED, SAME = Sent(OLD, None, new=False), Sent(b"same", b"s", new=False)


@pytest.mark.parametrize(
    ("sent", "revisions", "expected"),
    [
        ([CREATED, CHANGED], {NEW: {11: b"n"}, OLD: {5: b"-", 11: b"o"}}, 11),
        ([CREATED, CHANGED], {OLD: {5: b"-"}}, None),
        ([CREATED], {}, None),
        ([CHANGED], {OLD: {5: b"o"}}, None),  # it had that data before
        ([CHANGED], {OLD: {5: b"-", 11: b"o", 12: b"another's"}}, 11),
        ([CHANGED], {OLD: {5: b"-", 12: b"another's"}}, None),
        ([CHANGED], {OLD: {5: b"-", 11: b"o", 12: b"-", 13: b"o"}}, 11),  # another has made it so once more
        ([CHANGED], {OLD: {11: b"o"}}, 11),  # what was before it is packed
        ([CREATED, RESOLVED], {NEW: {11: b"n"}, OLD: {5: b"-", 11: b"-o", 12: b"-oo"}}, 11),
        ([CREATED, RESOLVED], {NEW: {11: b"n"}, OLD: {5: b"-"}}, None),
        ([CHANGED, SAME], {OLD: {5: b"-", 11: b"o"}, b"same": {6: b"t", 11: b"s", 12: b"t", 13: b"s"}}, 11),
        # Another has stored the same in one of them, but not in the other.
        ([CHANGED, SAME], {OLD: {5: b"-", 12: b"?"}, b"same": {6: b"t", 13: b"s"}}, None),
    ],
)
def test_it_is_told(sent: list[Sent], revisions: Revisions, expected: int | None) -> None:
    assert asked(sent, revisions) == expected


@pytest.mark.parametrize(
    ("sent", "revisions"),
    [
        ([], {}),
        ([RESOLVED], {OLD: {5: b"-", 11: b"?"}}),
        ([CHANGED], {}),  # it is gone
        ([CHANGED], {OLD: {12: b"?"}}),  # its former revisions are packed
        ([CREATED], {NEW: {12: b"?"}}),
        ([CHANGED], {OLD: {5: b"-", LATEST + 1: b"o"}}),  # too late to be its own
        ([CREATED, CHANGED], {NEW: {11: b"n"}, OLD: {12: b"o"}}),  # never both at once
    ],
)
def test_it_cannot_be_told(sent: list[Sent], revisions: Revisions) -> None:
    with pytest.raises(CannotBeTold):
        asked(sent, revisions)
