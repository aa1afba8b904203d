"""Storage whose pid file is lost is found by its command."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace

import psutil
import pytest
from short_home import short_home

from zenwebserver.home import Home
from zenwebserver.machine.identity import Identity
from zenwebserver.supervisor.line import launch
from zenwebserver.supervisor.parts.storage import Storage
from zenwebserver.supervisor.tasks import Tasks


@pytest.fixture
def home() -> Iterator[Home]:
    with short_home() as home:
        yield home


@pytest.mark.parametrize(
    ("whose", "elsewhere", "found"), [(0, False, True), (1, False, False), (0, True, False)], ids=str
)
def test_it_is_this_homes_and_this_users(
    home: Home, monkeypatch: pytest.MonkeyPatch, whose: int, elsewhere: bool, found: bool
) -> None:
    conf = home.etc / "other.conf" if elsewhere else home.storage_conf
    command = launch.storage_arguments("/the/site/bin/python", conf)
    told = SimpleNamespace(
        pid=os.getpid(), cmdline=lambda: command, uids=lambda: SimpleNamespace(real=os.geteuid() + whose)
    )
    monkeypatch.setattr(psutil, "process_iter", lambda: iter([told]))
    assert Storage(home, Tasks())._found() == (Identity.of(os.getpid()) if found else None)
