"""The home that most tests here start from."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from zenoss_home import Site, make_site


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Shorter than pytest's own, because a home's path is limited by its Unix sockets."""
    with tempfile.TemporaryDirectory(prefix="zwt") as folder:
        yield Path(folder)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = make_site(tmp_path)
    yield made
    if (made.home.path / "bin/zopectl").exists() and "pid=" in made.zopectl("status"):
        made.zopectl("stop")
