"""Which tests are slow: what starts a process of Zope, ZEO or nginx is marked `real`; `make test-fast` leaves it out.

Any other test fails as soon as it starts one, so that what is fast stays fast.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
REAL_PLACES = ("system/", "plone/", "site/test_site_booting.py", "nginx/test_nginx_binary.py")
REAL_FIXTURES = {"binary", "capabilities"}  # of tests/nginx and tests/security
REAL_FIXTURES |= {"place", "storage", "plain_storage"}  # of tests/worker: processes of ZEO
# A program's name, or what Python is told to run.
REAL_PROGRAMS = re.compile(
    r"(.*/)?(nginx|zenwebserver|runzeo|runwsgi|booted_server\.py|worker/__main__\.py)|zenwebserver\.supervisor|ZEO.*"
)
STARTS = {"subprocess.Popen": 1, "os.posix_spawn": 1, "os.exec": 1}  # audit event -> which argument has the words

_fast: list[str] = []  # the test that runs now and may start nothing real


def pytest_configure() -> None:
    sys.addaudithook(_refuse_what_is_real)
    if (
        signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    ):  # a shell's background job: what tests start is to hear Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        place = item.path.relative_to(HERE).as_posix()
        if place.startswith(REAL_PLACES) or REAL_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("real")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    if not item.get_closest_marker("real"):
        _fast.append(item.nodeid)
    try:
        return (yield)
    finally:
        _fast.clear()


def _refuse_what_is_real(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in STARTS or not _fast:
        return
    words = arguments[STARTS[event]]
    words = [os.fsdecode(word) for word in ([words] if isinstance(words, str | bytes | os.PathLike) else words)]
    if found := [word for word in words if REAL_PROGRAMS.fullmatch(word)]:
        pytest.fail(f"{_fast[0]} starts {found[0]}, but is not marked `real`: see {Path(__file__).name}")
