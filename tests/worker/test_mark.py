"""Storage gives no object id twice, whatever it is killed in; its mark beside Data.fs never keeps it from starting."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from persistent.mapping import PersistentMapping
from zeo_storage import Storage, Visitor
from ZODB import DB
from ZODB.blob import BlobStorage
from ZODB.DemoStorage import DemoStorage
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ReadOnlyError
from ZODB.utils import u64

from zenwebserver.worker.zodb import mark
from zenwebserver.worker.zodb.mark import AT_A_TIME, LEFT_OUT, OidsUncovered


@pytest.fixture(autouse=True)
def guarded(guard: Callable[..., None]) -> None:
    guard("mark")


@contextmanager
def opened(path: Path, **settings: Any) -> Iterator[FileStorage]:
    """What it has given is nowhere but in its mark when it is closed: as after a kill."""
    storage = FileStorage(str(path), **settings)
    try:
        yield storage
    finally:
        storage.close()


def ids(storage: Any, count: int = 5) -> list[int]:
    return [u64(storage.new_oid()) for _ in range(count)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A database of some objects, without a mark."""
    path = tmp_path / "Data.fs"
    database = DB(str(path))
    with database.transaction() as connection:
        connection.root()["map"] = PersistentMapping()
    database.close()
    (tmp_path / "Data.fs.oid").unlink()
    return path


def test_ids_are_not_given_again_by_the_next_start(data: Path) -> None:
    given: list[int] = []
    for _ in range(3):
        with opened(data) as storage:
            given += ids(storage)
    assert sorted(set(given)) == given


def test_a_new_database_begins_at_one(tmp_path: Path) -> None:
    with opened(tmp_path / "Data.fs") as storage:
        assert ids(storage) == [1, 2, 3, 4, 5]


def test_the_mark_covers_what_is_given_before_it_is_given(data: Path) -> None:
    with opened(data) as storage:
        for oid in itertools.islice(iter(lambda: ids(storage, 1)[0], None), AT_A_TIME + 10):
            assert (mark._read(f"{data}.oid") or 0) >= oid


def test_the_mark_is_on_the_disk_before_the_first_id_of_it_is_given(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut gives them once more."""
    synced: list[tuple[str, bool]] = []  # what, and whether the mark was in its place by then

    def sync(number: int) -> None:
        synced.append((str(Path(f"/proc/self/fd/{number}").readlink()), Path(f"{data}.oid").exists()))

    monkeypatch.setattr(os, "fsync", sync)
    with opened(data) as storage:
        synced.clear()
        ids(storage)
        assert synced == [(f"{data}.oid_tmp", False), (str(data.parent), True)]


@pytest.mark.parametrize("content", [b"", b"0x10\n", b"\xff" * 9, mark.TEXT.format(2**63).encode(), None])
def test_where_the_mark_is_lost_many_ids_are_left_out(data: Path, content: bytes | None) -> None:
    with opened(data) as storage:
        committed = u64(storage._oid)
    if content is not None:
        Path(f"{data}.oid").write_bytes(content)
    with opened(data) as storage:
        assert ids(storage, 1) == [committed + LEFT_OUT + 1]
    with opened(data) as storage:
        assert ids(storage, 1)[0] < committed + 2 * LEFT_OUT, "it is written anew"


def test_an_older_mark_beside_newer_data_gives_nothing_that_is_stored(data: Path) -> None:
    Path(f"{data}.oid").write_text(mark.TEXT.format(0))
    with opened(data) as storage:
        committed = u64(storage._oid)
        assert committed
        assert ids(storage, 1) == [committed + 1]


def test_a_mark_that_cannot_be_written_gives_an_error_of_its_own_and_no_id(data: Path) -> None:
    Path(f"{data}.oid").mkdir()
    with opened(data) as storage:
        for _ in range(2):
            with pytest.raises(OidsUncovered, match=r"Data.fs.oid cannot be written .* No object id was given"):
                storage.new_oid()
        before = u64(storage._oid)
        Path(f"{data}.oid").rmdir()
        assert ids(storage, 1) == [before + 1]
    assert not Path(f"{data}.oid_tmp").exists()


def test_where_it_is_only_read_nothing_is_written(data: Path) -> None:
    with opened(data, read_only=True) as storage, pytest.raises(ReadOnlyError):
        storage.new_oid()
    assert not Path(f"{data}.oid").exists()


def test_a_storage_in_a_wrapper_has_its_mark_too(data: Path) -> None:
    given: list[int] = []
    for _ in range(2):
        with opened(data) as storage:
            given += ids(BlobStorage(str(data.parent / "blobs"), storage))
    assert len(set(given)) == 10


def test_a_demostorage_writes_none(data: Path) -> None:
    with opened(data, read_only=True) as base:
        assert len(set(ids(DemoStorage(base=base)))) == 5
    assert not Path(f"{data}.oid").exists()


def test_two_storages_of_one_process_that_is_killed_have_a_mark_each(storage: Storage) -> None:
    given: dict[str, list[int]] = {"main": [], "other": []}
    clients = {name: storage.client(name) for name in given}
    for _ in range(3):
        for name, client in clients.items():
            client._oids.clear()
            given[name] += ids(client)
        storage.kill()
        storage.start()
    for each in given.values():
        assert len(set(each)) == 15


def test_a_server_is_told_why_it_gets_no_id(storage: Storage) -> None:
    visitor = Visitor(storage.database())
    storage.kill()
    Path(f"{storage.data}.oid").mkdir()
    storage.start()
    visitor.begin()  # it is back
    visitor.root["new"] = PersistentMapping()
    with pytest.raises(Exception, match="No new object can be stored"):
        visitor.commit()
    visitor.abort()
