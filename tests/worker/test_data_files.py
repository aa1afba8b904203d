"""A Data.fs that was there, and is missing when storage starts: nothing is made in its place, and no blob removed."""

from __future__ import annotations

import shutil
from pathlib import Path

import ZODB
from storage_place import Place
from ZEO.ClientStorage import ClientStorage
from ZODB.blob import Blob

from zenwebserver.worker import data_files
from zenwebserver.worker.data_files import DataFile
from zenwebserver.worker.messages import WorkerState

RECORD = "storage.opened"


def commit(place: Place, *, blob: bool) -> None:
    storage = ClientStorage(
        str(place.socket), storage="main", wait_timeout=10, blob_dir=str(place.blobs), shared_blob_dir=True
    )
    database = ZODB.DB(storage)
    try:
        with database.transaction() as connection:
            connection.root()["value"] = Blob(b"a document") if blob else 1
    finally:
        database.close()


def blobs(place: Place) -> list[bytes]:
    return [path.read_bytes() for path in place.blobs.rglob("*.blob")]


def refusal(place: Place) -> list[str]:
    """What a storage says that does not start."""
    with place.starting() as (process, call):
        while call.standing.state not in (WorkerState.FAILED, WorkerState.SERVING):
            call.hear()
        assert call.standing.state is WorkerState.FAILED
        assert process.wait(20) == 1
    return call.standing.reason.split("\n")


def put_away(place: Place) -> Path:
    """As if its disk were not mounted."""
    away = place.folder / "away"
    away.mkdir()
    for path in place.folder.glob("Data.fs*"):
        path.rename(away / path.name)
    return away


def test_its_blobs_stay_and_when_it_is_back_all_is_as_it_was(place: Place) -> None:
    with place.serving():
        commit(place, blob=True)
    away = put_away(place)
    assert refusal(place) == [
        f"{place.data} is missing, but its blobs are in {place.blobs}",
        f"Put it back; is its disk mounted? To begin with an empty one: remove {place.folder / RECORD} and move "
        f"{place.blobs} away, which ZODB would empty.",
    ]
    assert blobs(place) == [b"a document"]
    assert list(place.folder.glob("Data.fs*")) == []
    for path in away.iterdir():
        path.rename(place.folder / path.name)
    with place.serving():
        commit(place, blob=False)


def test_one_that_is_a_link_to_a_disk_that_is_not_mounted_is_missing_too(place: Place) -> None:
    disk = place.folder / "disk"
    disk.mkdir()
    place.data.symlink_to(disk / "Data.fs")
    with place.serving():
        commit(place, blob=True)
    (disk / "Data.fs").rename(place.folder / "of the disk")
    assert refusal(place)[0] == f"{place.data} is missing, but its blobs are in {place.blobs}"
    assert blobs(place) == [b"a document"]
    assert list(disk.iterdir()) == []


def test_without_blobs_it_is_known_by_the_record_alone(place: Place) -> None:
    with place.serving():
        commit(place, blob=False)
    put_away(place)
    assert refusal(place) == [
        f"{place.data} is missing, which storage has had open before",
        f"Put it back; is its disk mounted? To begin with an empty one: remove {place.folder / RECORD}.",
    ]
    assert not place.data.exists()
    (place.folder / RECORD).unlink()
    with place.serving():
        commit(place, blob=False)


def test_blobs_of_a_storage_without_a_record_stay_too(place: Place) -> None:
    with place.serving():
        commit(place, blob=True)
    put_away(place)
    (place.folder / RECORD).write_text("nonsense")
    assert refusal(place)[0] == f"{place.data} is missing, but its blobs are in {place.blobs}"
    assert blobs(place) == [b"a document"]
    shutil.rmtree(place.blobs)
    with place.serving():
        commit(place, blob=True)


def test_a_path_at_which_a_storage_makes_no_file_is_not_missed(tmp_path: Path) -> None:
    """There are other storages than ZODB's own, which mean something else by `path`."""
    conf, files = str(tmp_path / "storage.conf"), [DataFile(str(tmp_path / "name" / "of something"))]
    data_files.note_opened(conf, files)
    data_files.refuse_missing(conf, files)


def test_a_record_that_cannot_be_written_keeps_nobody_from_serving(place: Place) -> None:
    (place.folder / f"{RECORD}_tmp").mkdir()
    with place.serving():
        commit(place, blob=True)
    assert f"{place.folder / RECORD} cannot be written: Is a directory" in place.log


def test_a_folder_that_is_missing_is_named(place: Place) -> None:
    place.data_name = "gone/Data.fs"
    said, to_do = refusal(place)
    assert said.startswith("its configuration cannot be used: The directory named as part of the path ")
    assert f"{place.data} does not exist. (line " in said
    assert to_do == "Mend that in etc/zope.conf, from which it is made."
