"""A home for tests that bind its sockets: their paths are short."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zenwebserver.home import Home


@contextmanager
def short_home() -> Iterator[Home]:
    """An empty one, in a temporary folder."""
    path = Path(tempfile.mkdtemp(prefix="zws"))
    home = Home.at(path)
    home.make_folders()
    try:
        yield home
    finally:
        shutil.rmtree(path)
