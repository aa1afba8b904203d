"""A new object gets an id that another one has: that one loses nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from Acquisition import Implicit
from BTrees.OOBTree import OOBTree
from OFS.SimpleItem import SimpleItem
from persistent.mapping import PersistentMapping
from transaction.interfaces import TransientError
from zeo_storage import Storage, Visitor
from ZODB import DB


@pytest.fixture(autouse=True)
def guarded(guard: Callable[..., None]) -> None:
    guard("clashes")


def fill(database: DB) -> None:
    visitor = Visitor(database)
    visitor.root["tree"] = OOBTree({str(number): number for number in range(200)})
    visitor.root["map"] = PersistentMapping()
    visitor.commit()
    visitor.close()


@pytest.fixture
def database() -> Iterator[DB]:
    database = DB(None)
    fill(database)
    yield database
    database.close()


@pytest.fixture
def visitor(database: DB) -> Visitor:
    return Visitor(database)


def clash(visitor: Visitor) -> None:
    """The next new object gets the id of the tree's first bucket."""
    tree = visitor.root["tree"]
    tree._p_activate()
    connection, taken = visitor.connection, tree._firstbucket._p_oid
    new_oid = connection.new_oid
    connection.new_oid = lambda: taken
    visitor.root["map"]["x"] = PersistentMapping()
    try:
        visitor.commit()
    finally:
        connection.new_oid = new_oid


def test_it_goes_on_being_stored_and_keeps_its_id(database: DB, visitor: Visitor) -> None:
    tree = visitor.root["tree"]
    bucket = tree._firstbucket
    oid = bucket._p_oid
    with pytest.raises(TransientError):
        clash(visitor)
    visitor.abort()
    visitor.begin()
    assert (bucket._p_jar, bucket._p_oid) == (visitor.connection, oid)
    key = min(tree) + "!"
    tree[key] = "acknowledged"
    visitor.commit()
    other = Visitor(database)
    assert other.root["tree"][key] == "acknowledged"
    other.root["tree"][key + "!"] = "by another"
    other.commit()
    for number in range(40):  # the bucket splits, so its parent is stored
        tree[f"0!{number}"] = number
    visitor.begin()
    for number in range(40):
        tree[f"0!{number}"] = number
    visitor.commit()
    other.begin()
    assert other.root["tree"][key + "!"] == "by another"


def test_the_new_object_belongs_to_nobody_and_can_be_stored_again(visitor: Visitor) -> None:
    visitor.root["map"]["x"] = new = PersistentMapping()
    taken = visitor.root["tree"]._firstbucket._p_oid
    new_oid = visitor.connection.new_oid
    visitor.connection.new_oid = lambda: taken
    with pytest.raises(TransientError):
        visitor.commit()
    visitor.connection.new_oid = new_oid
    visitor.abort()
    assert (new._p_jar, new._p_oid) == (None, None)
    visitor.begin()
    visitor.root["map"]["x"] = new
    visitor.commit()


def test_the_connection_starts_afresh_when_it_is_next_opened(database: DB, visitor: Visitor) -> None:
    tree = visitor.root["tree"]
    with pytest.raises(TransientError):
        clash(visitor)
    connection = visitor.connection
    visitor.close()
    again = Visitor(database)
    assert again.connection is connection
    assert again.root["tree"] is not tree


def test_the_other_ids_that_were_fetched_with_that_one_are_not_used(storage: Storage) -> None:
    database = storage.database()
    fill(database)
    client = database.storage
    fetched = set(client._oids)
    assert fetched
    with pytest.raises(TransientError):
        clash(Visitor(database))
    assert client.new_oid() not in fetched


def test_an_object_that_is_stored_in_a_wrapper_is_no_clash(visitor: Visitor) -> None:
    class Parent(Implicit):
        pass

    item = SimpleItem()
    visitor.root["item"] = item
    visitor.connection.add(item.__of__(Parent()))
    with pytest.raises(TypeError, match="wrappers"):  # ZODB's own word on it
        visitor.commit()
