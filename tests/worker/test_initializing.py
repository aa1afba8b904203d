"""Two servers complete the same database at the same time, as Zope does when it starts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import transaction
from App.ZApplication import ZApplicationWrapper
from OFS.Application import AppInitializer, Application
from OFS.Folder import Folder
from ZODB import DB

from zenwebserver.worker.zodb.initializing import STEPS


@pytest.fixture(autouse=True)
def guarded(guard: Callable[..., None]) -> None:
    guard("initializing")


@pytest.fixture
def database() -> Iterator[DB]:
    database = DB(None)
    yield database
    transaction.abort()
    database.close()


def meanwhile(work: Callable[[], Any]) -> None:
    """In another server; a thread has a transaction of its own."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def run(application: Application, steps: tuple[str, ...]) -> None:
    for step in steps:
        getattr(AppInitializer(application), step)()


def earlier(application: Application) -> None:
    """As an earlier Zope has left it."""
    application.__dict__["Control_Panel"] = Folder("Control_Panel")
    application.__ac_roles__ = ("Manager",)
    application.acl_users._ofs_migrated = False
    application._initializer_registry = {}
    application._p_changed = True
    transaction.commit()


@pytest.mark.parametrize("step", STEPS)
def test_what_another_has_stored_just_before_is_found_and_not_stored_again(database: DB, step: str) -> None:
    wrapper = ZApplicationWrapper(database, "Application", Application)
    earlier(wrapper())
    application = wrapper()
    transaction.begin()
    application.objectIds()  # as it was before the other
    before = database.lastTransaction()

    def other() -> None:
        run(wrapper(), (step,))

    meanwhile(other)
    stored = database.lastTransaction()
    assert stored > before, "the other had something to store"
    run(application, (step,))
    assert database.lastTransaction() == stored


def test_the_root_is_made_once(database: DB) -> None:
    made = []

    def make() -> Application:
        if not made:
            made.append("here")
            meanwhile(lambda: ZApplicationWrapper(database, "Application", Application))
            made.append(database.lastTransaction())
        return Application()

    wrapper = ZApplicationWrapper(database, "Application", make)
    assert made[1] == database.lastTransaction()
    assert wrapper().objectIds() == ["acl_users"]
