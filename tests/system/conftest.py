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


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest) -> Iterator[Site]:
    """A running site for all tests of a module, which leave it as they found it.

    The module's SETTINGS are its settings, the views of its SITE ("store") are there.
    """
    site = Site(**getattr(request.module, "SETTINGS", {}))
    try:
        site.init().use(getattr(request.module, "SITE", "store")).ok("start")
        yield site
    finally:
        site.end()
