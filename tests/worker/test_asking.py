"""A commit that storage is killed in: it is done once, or it is told that nobody knows."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from BTrees.OOBTree import OOBTree
from persistent.list import PersistentList
from persistent.mapping import PersistentMapping
from transaction.interfaces import TransientError
from zeo_storage import Storage, Visitor
from ZODB import DB
from ZODB.blob import Blob
from ZODB.Connection import TransactionMetaData
from ZODB.utils import z64

from zenwebserver.worker.zodb import asking
from zenwebserver.worker.zodb.asking import OutcomeUnknown

Guard = Callable[..., None]


@pytest.fixture(autouse=True)
def guarded(guard: Guard) -> None:
    guard("asking", "several")


@pytest.fixture
def database(storage: Storage) -> DB:
    database = storage.database()
    visitor = Visitor(database)
    visitor.root["list"] = PersistentList()
    visitor.root["tree"] = OOBTree()
    visitor.root["map"] = PersistentMapping(value=1)
    visitor.commit()
    visitor.close()
    return database


def commit_while_storage_dies(storage: Storage, visitor: Visitor, when: str) -> None:
    storage.dies_at_the_next_commit(when)
    with storage.starts_again_when_it_died():
        visitor.commit()


def new_object(root: Any) -> None:
    root["tree"]["new"] = PersistentMapping(value=1)


def change_alone(root: Any) -> None:
    root["map"]["value"] = 2


CHANGES = [new_object, change_alone]


@pytest.mark.parametrize("change", CHANGES)
def test_a_commit_that_is_stored_is_done(storage: Storage, database: DB, change: Callable[[Any], None]) -> None:
    writer, reader = Visitor(database), Visitor(database)
    assert "new" not in reader.root["tree"]
    assert reader.root["map"]["value"] == 1
    change(writer.root)
    commit_while_storage_dies(storage, writer, "after")
    for each in (writer, reader, Visitor(storage.database())):
        each.begin()
        assert ("new" in each.root["tree"], each.root["map"]["value"]) in {(True, 1), (False, 2)}
    change(writer.root)  # its own objects have the right serials: no conflict
    writer.root["map"]["value"] = 3
    writer.commit()
    reader.begin()
    assert reader.root["map"]["value"] == 3


@pytest.mark.parametrize("change", CHANGES)
def test_a_commit_that_is_not_stored_may_be_repeated(
    storage: Storage, database: DB, change: Callable[[Any], None]
) -> None:
    writer = Visitor(database)
    change(writer.root)
    with pytest.raises(TransientError):
        commit_while_storage_dies(storage, writer, "before")
    writer.abort()
    writer.begin()
    assert "new" not in writer.root["tree"]
    assert writer.root["map"]["value"] == 1
    change(writer.root)
    writer.commit()


def test_whoever_waits_for_the_end_of_a_commit_hears_of_one_that_is_stored(storage: Storage) -> None:
    """ZODB invalidates the objects in this server's other connections then."""
    client, transaction = storage.client(), TransactionMetaData()
    client.tpc_begin(transaction)
    client.store(client.new_oid(), z64, b"data", "", transaction)
    client.tpc_vote(transaction)
    storage.dies_at_the_next_commit("after")
    heard: list[bytes] = []
    with storage.starts_again_when_it_died():
        tid = client.tpc_finish(transaction, heard.append)
    assert heard == [tid]


def test_a_storage_whose_clock_is_an_hour_ahead_is_believed(
    storage: Storage, database: DB, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Visitor(database)
    change_alone(writer.root)
    behind = SimpleNamespace(**{**vars(time), "time": lambda: time.time() - 3600})
    monkeypatch.setattr(asking, "time", behind)
    commit_while_storage_dies(storage, writer, "after")


def test_what_another_has_stored_just_so_meanwhile_is_not_taken_for_it(
    storage: Storage, database: DB, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A counter: both make 2 of 1, and 2 is 1 too few."""
    writer, other = Visitor(database), Visitor(storage.database())
    ask = asking.Question._ask

    def ask_late(question: asking.Question) -> bytes | None:
        if "value" in other.root["map"] and other.root["map"]["value"] == 1:
            question._call("ping")  # storage is back
            other.begin()
            change_alone(other.root)
            other.commit()
        return ask(question)

    monkeypatch.setattr(asking, "CLOCKS_DIFFER", 0.0)
    monkeypatch.setattr(asking.Question, "_ask", ask_late)
    change_alone(writer.root)
    with pytest.raises(OutcomeUnknown):
        commit_while_storage_dies(storage, writer, "before")


def test_an_undo_that_is_stored_cannot_be_told_and_is_not_repeated(storage: Storage, database: DB) -> None:
    undoing = Visitor(database)
    change_alone(undoing.root)
    undoing.commit()
    database.undo(database.undoInfo(0, 1)[0]["id"], undoing.transaction.get())
    with pytest.raises(OutcomeUnknown, match="undone"):
        commit_while_storage_dies(storage, undoing, "after")


def test_an_undo_that_is_not_stored_may_be_repeated(storage: Storage, database: DB) -> None:
    undoing = Visitor(database)
    change_alone(undoing.root)
    undoing.commit()
    database.undo(database.undoInfo(0, 1)[0]["id"], undoing.transaction.get())
    with pytest.raises(TransientError):
        commit_while_storage_dies(storage, undoing, "before")


def test_a_conflict_that_storage_resolved_is_told_by_what_else_was_stored(storage: Storage, database: DB) -> None:
    writer, other = Visitor(database), Visitor(storage.database())
    new_object(writer.root)
    other.root["tree"]["other"] = 1
    other.commit()
    commit_while_storage_dies(storage, writer, "after")
    writer.begin()
    assert set(writer.root["tree"]) == {"new", "other"}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_conflict_that_storage_resolved_alone(storage: Storage, database: DB, when: str) -> None:
    """Nothing has been stored since: so it is not. Something has: it may be that or another."""
    writer, other = Visitor(database), Visitor(storage.database())
    writer.root["tree"]["mine"] = 1
    other.root["tree"]["other"] = 1
    other.commit()
    with pytest.raises(TransientError if when == "before" else OutcomeUnknown):
        commit_while_storage_dies(storage, writer, when)


def test_a_commit_that_is_on_its_way_over_a_broken_connection_is_told_when_it_has_arrived_or_not(
    storage: Storage, database: DB, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Storage lives, and reads it from the former connection when the next one is there already."""
    writer = Visitor(database)
    io = database.storage._server.client
    protocol = io.protocol
    server_call = protocol.server_call

    def break_after(method: str, *arguments: Any) -> Any:
        if method == "tpc_finish":
            storage.signal(signal.SIGSTOP)
            io.loop.call_later(0.1, protocol.sm_protocol.transport.abort)
            io.loop.call_later(0.3, storage.signal, signal.SIGCONT)
        return server_call(method, *arguments)

    monkeypatch.setattr(protocol, "server_call", break_after)
    new_object(writer.root)
    done = True
    try:
        writer.commit()
    except TransientError:
        writer.abort()
        done = False
    reader = Visitor(storage.database())
    assert ("new" in reader.root["tree"]) == done


def test_storage_that_does_not_come_back_is_told(
    storage: Storage, database: DB, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "ASK_SECONDS", 1.0)
    database.storage._server.timeout = 1  # that the abort waits
    writer = Visitor(database)
    new_object(writer.root)
    storage.dies_at_the_next_commit("after")
    with pytest.raises(OutcomeUnknown, match="has not come back within 1 s"):
        writer.commit()
    writer.abort()


def test_the_error_is_not_one_that_is_repeated() -> None:
    assert not issubclass(OutcomeUnknown, TransientError)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_blob_alone(storage: Storage, when: str) -> None:
    database = DB(storage.client(blob_dir=str(storage.folder / "cache")))
    visitor = Visitor(database)
    visitor.root["blob"] = blob = Blob(b"1")
    visitor.commit()
    with blob.open("w") as file:
        file.write(b"2")
    with pytest.raises(TransientError if when == "before" else OutcomeUnknown):
        commit_while_storage_dies(storage, visitor, when)
    visitor.abort()
    visitor.begin()
    with blob.open() as file:
        assert file.read() == (b"1" if when == "before" else b"2")
