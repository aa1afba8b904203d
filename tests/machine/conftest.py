"""A process to adopt or to kill."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from short_lived import WAITS


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own that is not ended by itself."""
    with subprocess.Popen(WAITS, start_new_session=True) as process:
        yield process
        process.kill()
