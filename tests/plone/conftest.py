"""One real Plone site for all tests here: two warm servers, storage and nginx."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Site

HERE = Path(__file__).parent
PYTHON = HERE.parent.parent / ".venv-plone" / "bin" / "python"  # make test-plone makes it


@pytest.fixture(scope="session")
def plone() -> Iterator[Site]:
    """Running, with Plone at /Plone and the views of tests/system/sites/store."""
    site = Site(python=PYTHON, warmupPaths="/Plone")
    try:
        site.init().use("store")
        command = [PYTHON, HERE / "make_plone.py", site.home / "etc" / "zope.conf"]
        subprocess.run(command, check=True, env=site.environment)
        site.ok("start")
        yield site
    finally:
        site.end()
