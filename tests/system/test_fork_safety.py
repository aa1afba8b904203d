"""A site that cannot be forked is served all the same."""

from __future__ import annotations

from harness import Site


def test_a_site_that_crashes_when_it_is_forked_starts_the_ordinary_way_and_says_so(site: Site) -> None:
    started = site.use("fork_crash").ok("start")
    assert site.get("/").status == 200, started
    status = site.ok("status", "-v").out
    assert "* Started the ordinary way: Server 1 was killed by SIGSEGV right after the fork" in status
    assert "servers start the ordinary way: Server 1 was killed by SIGSEGV" in site.log()
