"""How long requests wait for a storage that is away: a real ZEO server, killed and started again."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import transaction
import ZODB
from storage_place import Place
from ZEO.ClientStorage import ClientStorage
from ZEO.Exceptions import ClientDisconnected
from zeo_storage import Storage, Visitor
from ZODB.Connection import TransactionMetaData
from ZODB.MappingStorage import MappingStorage
from ZODB.utils import maxtid, z64

from zenwebserver.worker import patience
from zenwebserver.worker.patience import Clients, CommitLock, StorageAway, client_storages

SECONDS = 1.0  # of patience, here
LONG = 20.0


@dataclass
class Opened:
    """Databases, and the clients among them."""

    place: Place
    databases: list[ZODB.DB] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clients = Clients(lambda: self.databases)

    def open(self, **how: Any) -> ZODB.DB:
        how = {"server_sync": True, "wait_timeout": 60, **how}
        self.databases.append(ZODB.DB(ClientStorage(str(self.place.socket), storage="main", **how)))
        return self.databases[-1]

    def close(self) -> None:
        while self.databases:
            self.databases.pop().close()


@pytest.fixture
def opened(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", SECONDS)
    opened = Opened(place)
    yield opened
    opened.close()


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + LONG
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def goes_away(database: ZODB.DB, process: Any) -> None:
    process.kill()
    until(lambda: not database.storage.is_connected())


def seconds_until_away(wait: Callable[[], object]) -> float:
    begun = time.monotonic()
    with pytest.raises(StorageAway, match="is away"):
        wait()
    return time.monotonic() - begun


def test_requests_wait_for_one_that_restarts(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", LONG)
    with opened.place.serving() as (process, _):
        database = opened.open()
        opened.clients.wait()
        goes_away(database, process)
    waiter = threading.Thread(target=opened.clients.wait)
    waiter.start()
    with opened.place.serving():
        waiter.join(LONG)
        assert not waiter.is_alive()
        assert not opened.clients.request.away
        with database.transaction() as connection:
            connection.root()["value"] = 1


def test_they_wait_no_longer_than_from_when_it_went_and_then_not_at_all(opened: Opened) -> None:
    with opened.place.serving() as (process, _):
        database = opened.open()
        opened.clients.wait()
        goes_away(database, process)
    assert SECONDS / 2 < seconds_until_away(opened.clients.wait) < LONG
    assert opened.clients.request.away
    assert seconds_until_away(opened.clients.wait) < SECONDS / 2
    with opened.place.serving():
        until(database.storage.is_connected)
        opened.clients.wait()


def test_they_wait_no_longer_either_where_nobody_has_told_that_it_went(opened: Opened) -> None:
    with opened.place.serving() as (process, _):
        database = opened.open()
        opened.clients.wait()
        goes_away(database, process)
    client = next(iter(opened.clients))
    client._away_since = None  # as where it goes in the moment in which it becomes known

    def gives_up() -> None:
        with contextlib.suppress(StorageAway):
            client.wait()

    waiter = threading.Thread(target=gives_up, daemon=True)
    waiter.start()
    waiter.join(LONG)
    assert not waiter.is_alive()


def test_what_is_inside_a_request_waits_as_long_and_what_is_cached_is_still_answered(opened: Opened) -> None:
    with opened.place.serving() as (process, _):
        database = opened.open(server_sync=False)
        with database.transaction() as connection:
            connection.root()["value"] = 1
        storage = database.storage
        opened.clients.wait()
        goes_away(database, process)
    opened.clients.wait()  # of one that need not be asked first, nobody waits
    assert storage.loadBefore(z64, maxtid)
    away = seconds_until_away(lambda: storage.loadBefore(b"\0" * 7 + b"\7", maxtid))
    assert SECONDS / 2 < away < LONG
    assert seconds_until_away(lambda: storage.history(z64)) < SECONDS / 2
    assert seconds_until_away(storage.new_oid) < SECONDS / 2


def test_zope_may_try_again_what_lost_its_connection_while_it_is_worth_waiting(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 5 * SECONDS)  # for which ZEO's abort of it waits, too
    with opened.place.serving() as (process, _):
        database = opened.open()
        opened.clients.wait()
        with database.transaction() as connection:
            connection.root()["value"] = 1
        connection = database.open(transaction.TransactionManager())
        connection.root()["value"] = 2
        goes_away(database, process)
    with pytest.raises(ClientDisconnected):
        connection.transaction_manager.commit()
    assert not opened.clients.request.away
    assert opened.clients.request.finishes == 1, "that of the first one"
    with opened.place.serving():
        connection.transaction_manager.abort()
        connection.close()


@pytest.mark.parametrize("stored", [True, False])
def test_a_request_may_be_told_that_nothing_was_changed_where_what_storage_was_lost_in_is_not_stored(
    storage: Storage, guard: Callable[..., None], stored: bool
) -> None:
    guard("asking")
    database = storage.database()
    clients = Clients(lambda: [database])
    clients.wait()
    visitor = Visitor(database)
    clients.request.begins()
    visitor.root["value"] = 1
    storage.dies_at_the_next_commit("after" if stored else "before")
    with storage.starts_again_when_it_died():
        if stored:
            visitor.commit()
        else:
            with pytest.raises(ClientDisconnected):
                visitor.commit()
    assert clients.request.finishes == int(stored)
    visitor.close()


def test_while_requests_wait_it_is_looked_for_more_often(opened: Opened) -> None:
    with opened.place.serving() as (process, _):
        database = opened.open()
        opened.clients.wait()
        goes_away(database, process)
    looks = database.storage._server.client
    assert {each.connect_poll for each in (looks, *looks.protocols)} == {0.0}
    assert seconds_until_away(opened.clients.wait) > SECONDS / 2
    assert {each.connect_poll for each in (looks, *looks.protocols)} == {patience.CONNECT_POLL_SECONDS}


def test_one_that_is_connected_and_does_not_answer_is_waited_for_longer_and_then_not_at_all(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "SILENCE_SECONDS", SECONDS)
    with opened.place.serving() as (process, _):
        database = opened.open()
        opened.clients.wait()
        process.send_signal(signal.SIGSTOP)
        assert SECONDS / 2 < seconds_until_away(database.storage.sync) < LONG
        assert opened.clients.request.away
        assert seconds_until_away(opened.clients.wait) < SECONDS / 2
        process.send_signal(signal.SIGCONT)
        client = next(iter(opened.clients))
        until(lambda: client._unanswered.done())
        opened.clients.wait()
        database.storage.sync()
        opened.close()


def test_a_commit_that_waits_for_another_one_waits_no_longer_and_leaves_it_its_lock(opened: Opened) -> None:
    with opened.place.serving() as (process, _):
        database = opened.open()
        opened.clients.wait()
        storage, first = database.storage, TransactionMetaData()
        storage.tpc_begin(first)
        connection = database.open(transaction.TransactionManager())
        connection.root()["value"] = 2
        goes_away(database, process)
    failures: list[float] = []
    other = threading.Thread(target=lambda: failures.append(seconds_until_away(connection.transaction_manager.commit)))
    other.start()
    other.join(LONG)
    assert failures
    assert failures[0] < LONG
    assert not storage._commit_lock._lock.acquire(blocking=False), "the first one still has it"
    connection.transaction_manager.abort()
    connection.close()
    begun = time.monotonic()
    storage.tpc_abort(first)
    assert time.monotonic() - begun < SECONDS / 2
    assert storage._commit_lock._lock.acquire(blocking=False), "it is free"
    storage._commit_lock.release()


def test_a_lock_that_is_free_is_had_and_given_back() -> None:
    def never() -> None:
        raise AssertionError

    lock = CommitLock(threading.Lock(), never)
    with lock.reserved():
        assert lock.acquire()
    assert not lock._lock.acquire(blocking=False)
    lock.release()
    with pytest.raises(KeyError), lock.reserved():
        raise KeyError  # before it was asked for
    assert lock.acquire(), "without having been reserved, too"
    lock.release()


def test_those_that_are_wrapped_and_those_that_are_opened_later_are_known(opened: Opened) -> None:
    with opened.place.serving():
        inner = opened.open().storage
        assert len(list(opened.clients)) == 1
        opened.databases.append(ZODB.DB(MappingStorage()))
        assert len(list(opened.clients)) == 1
        later = opened.open().storage
        assert [client.storage for client in opened.clients] == [inner, later]
        wrapped = SimpleNamespace(base=SimpleNamespace(base=inner))  # as compression and the like do
        assert list(client_storages(wrapped)) == [inner]
        assert list(client_storages(None)) == []
        opened.close()
