"""Object ids hold for one connection to storage, also to a site's own, which gives them again when it was killed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import pytest
from persistent.mapping import PersistentMapping
from transaction.interfaces import TransientError
from ZEO.ClientStorage import ClientStorage
from zeo_storage import Storage, Visitor, wait_until
from ZODB.utils import u64


@pytest.fixture(autouse=True)
def guarded(guard: Callable[..., None]) -> None:
    guard("oids")


def restart(storage: Storage, *clients: ClientStorage) -> None:
    """Until the clients are back."""
    generations = [client._connection_generation for client in clients]
    storage.kill()
    storage.start()
    for client, generation in zip(clients, generations, strict=True):
        wait_until(partial(is_back, client, generation), "it is back")


def is_back(client: ClientStorage, generation: int) -> bool:
    return client.is_connected() and client._connection_generation > generation


def test_ids_that_were_fetched_before_a_restart_are_not_used_after_it(plain_storage: Storage) -> None:
    one, other = plain_storage.client(), plain_storage.client()
    one.new_oid()
    restart(plain_storage)
    theirs = {other.new_oid() for _ in range(250)}
    assert not theirs & {one.new_oid() for _ in range(250)}


def test_ids_that_are_on_their_way_while_storage_restarts_are_not_used(
    plain_storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = plain_storage.client(), plain_storage.client()
    call, restarts = one._call, iter([restart])

    def call_slowly(method: str) -> object:
        answer = call(method)
        for each in restarts:
            each(plain_storage, one)
        return answer

    monkeypatch.setattr(one, "_call", call_slowly)
    mine = {one.new_oid() for _ in range(50)}
    assert not mine & {other.new_oid() for _ in range(50)}


def test_threads_get_an_id_each(plain_storage: Storage) -> None:
    client = plain_storage.client()
    found: list[bytes] = []

    def take() -> None:
        found.extend([client.new_oid() for _ in range(500)])

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 2000


def test_a_transaction_that_got_ids_before_a_restart_is_to_be_repeated(plain_storage: Storage) -> None:
    database = plain_storage.database()
    visitor = Visitor(database)
    visitor.root["new"] = PersistentMapping()
    visitor.transaction.savepoint()  # as Plone does for each new document
    given = visitor.root["new"]._p_oid
    restart(plain_storage, database.storage)
    with pytest.raises(TransientError, match="got their ids"):
        visitor.commit()
    visitor.abort()
    visitor.begin()
    visitor.root["new"] = PersistentMapping()
    visitor.commit()
    assert u64(visitor.root["new"]._p_oid) <= u64(given)  # a plain storage gives it once more


def test_a_transaction_without_new_objects_is_not_disturbed_by_a_restart(plain_storage: Storage) -> None:
    database = plain_storage.database()
    visitor = Visitor(database)
    visitor.root["new"] = PersistentMapping()
    visitor.commit()
    visitor.root["new"]["value"] = 1
    restart(plain_storage, database.storage)
    visitor.commit()
