from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from zenwebserver.home import Home


@pytest.fixture
def home() -> Iterator[Home]:
    """A home that does not exist yet, its path short enough for Unix sockets."""
    folder = Path(tempfile.mkdtemp(prefix="z"))
    yield Home.at(folder / "home")
    shutil.rmtree(folder)
