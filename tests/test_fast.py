"""A test that is not marked `real` starts neither Zope nor nginx."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import zenwebserver
from zenwebserver.nginx import binary

VENV = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        ["nginx", "-v"],
        [binary.embedded(), "-v"],
        ["runzeo", "--help"],
        [sys.executable, "-m", "zenwebserver.supervisor", "/nowhere", "1"],
        [VENV / "zenwebserver", "--version"],
        [sys.executable, Path(zenwebserver.__file__).parent / "worker" / "__main__.py", "{}"],
    ],
)
def test_what_is_real_is_refused(command: list[str | Path]) -> None:
    with pytest.raises(pytest.fail.Exception, match="not marked `real`"):
        subprocess.run(command, check=True)
    with pytest.raises(pytest.fail.Exception, match="not marked `real`"):
        os.posix_spawn(command[0], command, {})


def test_what_is_not_real_may_be_started() -> None:
    assert subprocess.run([sys.executable, "-c", "print('nginx')"], check=True, capture_output=True).stdout
