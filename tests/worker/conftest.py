from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from storage_place import Place
from supervisor_end import SupervisorEnd
from zeo_storage import Storage

from zenwebserver.worker.zodb.overrides import put_in_place


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[SupervisorEnd]:
    end = SupervisorEnd(tmp_path)
    yield end
    end.close()


@pytest.fixture
def place(tmp_path: Path, supervisor: SupervisorEnd) -> Place:
    """Where storages run; nothing does yet."""
    return Place(tmp_path, supervisor)


@pytest.fixture
def guard(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts cures in place in this process, until the test ends."""

    def guard(*names: str) -> None:
        for name in names:
            cure = importlib.import_module(f"zenwebserver.worker.zodb.{name}")
            overrides = cure.overrides()
            for each in overrides:
                monkeypatch.setattr(each.owner, each.name, each.method())
            assert put_in_place(cure.CURE, overrides)

    return guard


@pytest.fixture
def storage() -> Iterator[Storage]:
    """As ours is, with its mark."""
    storage = Storage()
    try:
        yield storage.start()
    finally:
        storage.end()


@pytest.fixture
def plain_storage() -> Iterator[Storage]:
    """A site's own ZEO."""
    storage = Storage(guarded=False)
    try:
        yield storage.start()
    finally:
        storage.end()
