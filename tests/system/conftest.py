"""Sites for system tests: real Zope, ZEO and nginx, each in its own home."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from harness import Site


@pytest.fixture
def make_site() -> Iterator[Callable[..., Site]]:
    """Makes sites, not initialised yet; ends them after the test."""
    made: list[Site] = []

    def make(**settings: object) -> Site:
        made.append(Site(**settings))
        return made[-1]

    yield make
    for site in made:
        site.end()


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """A home that was made, with nothing started."""
    return make_site().init()


@pytest.fixture
def running(site: Site) -> Site:
    """Two servers, storage and nginx, with the views of sites/store."""
    site.use("store").ok("start")
    return site
