"""Transactions over several databases of one storage process, which is killed between them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from persistent.mapping import PersistentMapping
from transaction.interfaces import TransientError
from zeo_storage import Storage, Visitor

from zenwebserver.worker.zodb.several import PartlyStored


@pytest.fixture(autouse=True)
def guarded(guard: Callable[..., None]) -> None:
    guard("asking", "several")


@pytest.fixture
def visitor(storage: Storage) -> Visitor:
    databases: dict[str, object] = {}
    storage.database("other", databases=databases)
    visitor = Visitor(storage.database(databases=databases))
    for root in (visitor.root, visitor.connection.get_connection("other").root()):
        root["map"] = PersistentMapping()
    visitor.commit()
    return visitor


def commit_both(storage: Storage, visitor: Visitor, when: str) -> None:
    for root in (visitor.root, visitor.connection.get_connection("other").root()):
        root["map"]["value"] = 1
    storage.dies_at_the_next_commit(when)
    with storage.starts_again_when_it_died():
        visitor.commit()


def test_where_one_has_it_and_the_other_not_it_is_told_and_not_repeated(storage: Storage, visitor: Visitor) -> None:
    with pytest.raises(PartlyStored, match="the database other has none of it, main has all"):
        commit_both(storage, visitor, "after")
    assert not issubclass(PartlyStored, TransientError)


def test_where_none_has_it_it_may_be_repeated(storage: Storage, visitor: Visitor) -> None:
    with pytest.raises(TransientError):
        commit_both(storage, visitor, "before")
