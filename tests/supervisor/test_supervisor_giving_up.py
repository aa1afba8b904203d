"""A server that is given up leaves the pool."""

from __future__ import annotations

import asyncio
import errno
import os

import pytest
from fake_machine import ServerProcess
from fake_site import FakeSite

from zenwebserver.supervisor.parts.state import State


async def given_up(site: FakeSite, number: int) -> None:
    site.machine.boots = ServerProcess.fails
    site.process(number).die()
    await asyncio.sleep(60)
    assert site.server(number).state is State.FAILED
    site.machine.boots = lambda server: server.boots()


async def test_nginx_sends_it_nothing_until_it_is_started(site: FakeSite) -> None:
    await site.started(2)
    await given_up(site, 2)
    assert not site.nginx_knows(2)
    assert site.nginx_knows(1)
    await site.ok("start")
    assert site.nginx_knows(2)
    await site.end()


async def test_where_nginx_cannot_be_told_that_is_logged(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await site.started(2)

    async def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(site.supervisor.publisher, "put_pool", full)
        await given_up(site, 2)
    assert "Server 2 is still in the pool: nginx could not be told of the pool: No space left" in caplog.text
    assert "a defect" not in caplog.text
    assert site.supervisor.changes.idle
    await site.end()
