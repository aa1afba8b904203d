"""A real browser, over HTTP/2, notices nothing of a pool that changes."""

from __future__ import annotations

import pytest
from changes import change, secure_site
from chromium import PROGRAM, Chromium
from seen import stored

CHANGES = 21
SESSIONS = 4


@pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed")
def test_no_fetch_fails_and_none_is_done_twice_while_the_pool_changes() -> None:
    """A hundred changes and twelve sessions: python -m bench.changes."""
    with secure_site(threads=2) as site:
        with Chromium(site, int(str(site.settings["sslPort"])), sessions=SESSIONS) as browser:
            browser.wait_for(50)
            workers = {worker.pid for worker in site.workers_of_nginx()}
            change(site, CHANGES)
            browser.wait_for(50)
            assert {worker.pid for worker in site.workers_of_nginx()} == workers
        assert browser.seen.failures == []
        assert browser.seen.protocols == {"h2"}
        counts = stored(site, port=site.server_port(1))
        assert {ident: counts.get(ident) for ident in browser.seen.stored} == dict.fromkeys(browser.seen.stored, 1)
