"""Storage comes back with less than its servers know: they come back too, and know no more than it."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
from persistent.mapping import PersistentMapping
from transaction.interfaces import TransientError
from zeo_storage import Storage, Visitor


@pytest.fixture
def visitor(plain_storage: Storage) -> Visitor:
    visitor = Visitor(plain_storage.database())
    visitor.root["map"] = PersistentMapping(value="stored")
    visitor.commit()
    return visitor


def go_back(storage: Storage, visitor: Visitor) -> None:
    """Data.fs is put back to how it was before the last commit, under a server that has seen it."""
    former = storage.data.with_name("former")
    shutil.copy(storage.data, former)
    visitor.root["map"]["value"] = "gone"
    visitor.commit()
    assert visitor.root["map"]["value"] == "gone"
    storage.kill()
    shutil.copy(former, storage.data)
    storage.start()


def test_a_server_that_has_seen_more_comes_back_and_forgets_it(
    guard: Callable[..., None], plain_storage: Storage, visitor: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    guard("behind")
    go_back(plain_storage, visitor)
    visitor.begin()
    assert visitor.root["map"]["value"] == "stored"
    assert "the database is an older one" in caplog.text
    visitor.root["map"]["value"] = "again"
    visitor.commit()


def test_a_server_comes_back_when_storage_is_killed_in_a_commit_and_once_more(
    guard: Callable[..., None], plain_storage: Storage, visitor: Visitor
) -> None:
    """FileStorage counts what it throws away at its start as its last transaction, and not at the start after it."""
    guard("asking", "behind")
    plain_storage.dies_at_the_next_commit("before")
    visitor.root["map"]["value"] = "never"
    with plain_storage.starts_again_when_it_died(), pytest.raises(TransientError):
        visitor.commit()
    visitor.close()
    later = Visitor(plain_storage.database())  # a server that starts then
    assert later.root["map"]["value"] == "stored"
    plain_storage.kill()
    plain_storage.start()
    later.begin()
    assert later.root["map"]["value"] == "stored"
    later.root["map"]["value"] = "again"
    later.commit()
