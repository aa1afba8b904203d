"""The storage process, a real ZEO server: what it says from its start to its end, and how it leaves its files."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest
import transaction
import ZODB
from storage_place import Place
from ZEO.ClientStorage import ClientStorage
from ZODB.FileStorage import FileStorage

from zenwebserver.worker.messages import Order, OrderName, WorkerState
from zenwebserver.worker.zeo_server import unreadable

STUCK = "zeo_server.unreadable = lambda _: time.sleep(600)"
BROKEN = "zeo_server.unreadable = lambda _: 'closed'"


def commit(place: Place, value: int) -> None:
    storage = ClientStorage(str(place.socket), storage="main", wait_timeout=10)
    database = ZODB.DB(storage)
    try:
        with database.transaction() as connection:
            connection.root()["value"] = value
    finally:
        database.close()


def value_in(place: Place) -> object:
    database = ZODB.DB(FileStorage(str(place.data)))
    try:
        with database.transaction() as connection:
            return connection.root()["value"]
    finally:
        database.close()


def test_it_says_who_it_is_and_serves_its_owner_alone_when_it_says_so(place: Place) -> None:
    with place.starting() as (process, call):
        said = call.standing
        assert (said.state, said.token, said.pid) == (WorkerState.STARTING, "t4", process.pid)
        assert (said.storage, said.server, said.zygote) == (str(place.folder / "storage.conf"), "", "")
        call.hear_of(WorkerState.SERVING)
        assert stat.S_IMODE(place.socket.stat().st_mode) == 0o600
        commit(place, 1)


@pytest.mark.parametrize("how", ["an order", signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=str)
def test_it_leaves_with_its_index_saved_and_its_files_closed(place: Place, how: object) -> None:
    with place.serving() as (process, call):
        commit(place, 7)
        if isinstance(how, signal.Signals):
            process.send_signal(how)
        else:
            call.tell(Order(OrderName.LEAVE))
        assert call.hear_of(WorkerState.LEAVING)
        assert process.wait(20) == 0
    assert (place.folder / "Data.fs.index").exists()
    assert "Traceback" not in place.log
    assert value_in(place) == 7


def test_it_outlives_its_supervisor_and_tells_the_next_one_how_it_stands(place: Place) -> None:
    with place.serving() as (process, call):
        call.hang_up()
        commit(place, 2)
        again = place.supervisor.answer()
        assert again.standing.state is WorkerState.SERVING
        assert again.standing.token == "t4"
        assert process.poll() is None


def test_it_reports_and_says_for_how_long_it_has_been_stuck(place: Place) -> None:
    with place.serving() as (_, call):
        heard = [call.hear().figures for _ in range(5)]
        assert [each.all_busy_seconds for each in heard if each] == [0.0] * 5
    with place.serving(STUCK) as (_, call):
        while not (figures := call.hear().figures) or figures.all_busy_seconds < 0.1:
            pass


def test_an_order_that_is_none_of_a_storages_is_ignored(place: Place) -> None:
    with place.serving() as (_, call):
        call.tell(Order(OrderName.REST))
        while "Storage does not rest: the order is ignored" not in place.log:
            call.hear()
        commit(place, 3)


def test_one_that_cannot_read_any_more_ends_and_says_so(place: Place) -> None:
    with place.serving(BROKEN) as (process, call):
        assert call.hear_of(WorkerState.FAILED).reason == "storage 'main' cannot be read any more: closed"
        assert process.wait(20) == 1


def test_a_file_storage_that_has_closed_itself_is_noticed(tmp_path: Path) -> None:
    storage = FileStorage(str(tmp_path / "Data.fs"))
    assert unreadable(storage) == "", "it is empty, and works"
    ZODB.DB(storage)
    assert unreadable(storage) == ""
    storage.close()
    assert unreadable(storage) == "closed"


# What it cannot open.


def fails(place: Place) -> list[str]:
    """Its reason, line by line."""
    with place.starting() as (process, call):
        reason = call.hear_of(WorkerState.FAILED).reason
        assert process.wait(20) == 1
    assert reason in place.log
    assert "Traceback" in place.log, "the whole stands in the log"
    return reason.splitlines()


def made(place: Place) -> bytes:
    """The content of a good Data.fs with a few transactions, which is there."""
    database = ZODB.DB(FileStorage(str(place.data)))
    connection = database.open()
    for number in range(20):
        connection.root()[number] = "x" * 100
        transaction.commit()
    connection.close()
    database.close()
    (place.folder / "Data.fs.index").unlink()
    return place.data.read_bytes()


def test_a_file_that_another_process_has_open_is_named_with_that_process(place: Place) -> None:
    storage = FileStorage(str(place.data))
    try:
        why, to_do = fails(place)
    finally:
        storage.close()
    assert why.startswith(f"{place.data} is open in another process, pid {os.getpid()}: ")
    assert to_do == "Only one process can have it open: end that one."


@pytest.mark.parametrize("what", ["no Data.fs", "zeros inside", "garbage inside"])
def test_a_damaged_file_is_named_with_what_can_be_done(place: Place, what: str) -> None:
    good = made(place)
    middle = len(good) // 2
    place.data.write_bytes(
        {
            "no Data.fs": b"garbage" * 100,
            "zeros inside": good[:middle] + bytes(300) + good[middle + 300 :],
            "garbage inside": good[:middle] + b"\xff" * 300 + good[middle + 300 :],
        }[what]
    )
    damaged = place.data.read_bytes()
    why, to_do = fails(place)
    assert why.startswith(f"{place.data} cannot be read: {'it is no Data.fs' if what == 'no Data.fs' else 'it is dam'}")
    assert "Put a backup in its place" in to_do
    assert "-m ZODB.fsrecover" in to_do
    assert place.data.read_bytes() == damaged


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, place: Place) -> None:
    place.data.symlink_to(tmp_path / "gone" / "Data.fs")
    why, to_do = fails(place)
    assert why == f"{place.data} cannot be opened: No such file or directory"
    assert to_do == "Make its folder, or mend the path in etc/zope.conf."


def test_what_is_no_file_is_named(place: Place) -> None:
    made(place)
    place.data.rename(place.folder / "hidden")
    place.data.mkdir()
    why, to_do = fails(place)
    assert why == f"{place.data} cannot be opened: Is a directory"
    assert to_do == "Mend that, or the path in etc/zope.conf."
