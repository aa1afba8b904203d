from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from storage_place import Place
from supervisor_end import SupervisorEnd


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[SupervisorEnd]:
    end = SupervisorEnd(tmp_path)
    yield end
    end.close()


@pytest.fixture
def place(tmp_path: Path, supervisor: SupervisorEnd) -> Place:
    """Where storages run; nothing does yet."""
    return Place(tmp_path, supervisor)
