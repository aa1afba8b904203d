"""One supervisor a home, whatever is deleted."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
from short_home import short_home

from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.supervisor.lock import Lock, RunsAlready
from zenwebserver.takeover.lock import alone


@pytest.fixture
def home() -> Iterator[Home]:
    with short_home() as home:
        yield home


@pytest.fixture
def lock(home: Home) -> Iterator[Lock]:
    lock = Lock.take(home)
    yield lock
    lock.release()


def is_free(home: Home) -> bool:
    try:
        Lock.take(home).release()
    except RunsAlready:
        return False
    return True


def test_a_second_supervisor_is_refused_until_the_first_one_ends(home: Home) -> None:
    lock = Lock.take(home)
    assert not is_free(home)
    lock.release()
    assert is_free(home)


def test_whoever_deletes_what_is_of_no_lasting_use_does_not_free_the_home(home: Home, lock: Lock) -> None:
    for folder in (home.var, home.log, home.pool_folder):
        shutil.rmtree(folder)
    home.make_folders()
    assert not is_free(home)


def test_a_successor_that_inherits_it_holds_it_with_the_former_and_alone_without_a_gap(home: Home) -> None:
    lock = Lock.take(home)
    successor = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, pass_fds=(lock.descriptor,)
    )
    lock.release()
    assert not is_free(home)
    successor.communicate()
    assert is_free(home)


def test_what_is_inherited_must_be_the_lock_of_this_home(home: Home, lock: Lock) -> None:
    assert Lock.inherit(home, lock.descriptor).descriptor == lock.descriptor
    other = os.open(home.path, os.O_RDONLY)
    with pytest.raises(ZenwebserverError):
        Lock.inherit(home, other)
    os.close(other)


def test_where_etc_is_exchanged_for_another_folder_that_one_is_locked_too(home: Home, lock: Lock) -> None:
    home.etc.rename(home.path / "etc.away")
    assert not lock.is_of_home
    home.etc.mkdir()
    lock.hold()
    assert lock.is_of_home
    assert not is_free(home)


def test_where_another_supervisor_holds_the_other_folder_already_this_one_is_told(home: Home, lock: Lock) -> None:
    home.etc.rename(home.path / "etc.away")
    home.etc.mkdir()
    other = Lock.take(home)
    with pytest.raises(RunsAlready):
        lock.hold()
    other.release()


def test_a_supervisor_of_an_earlier_version_is_not_joined_by_another(home: Home) -> None:
    with home.former_lock_file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert not is_free(home)
    assert is_free(home)
    assert not home.former_lock_file.exists()


def test_install_and_uninstall_have_a_lock_of_their_own(home: Home, lock: Lock) -> None:
    with alone(home):
        assert not is_free(home)
