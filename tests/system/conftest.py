"""Sites for system tests: real Zope, ZEO and nginx, each in its own home."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial

import pytest
from harness import Site
from shared import Shared
from warm import running_site, stored_site

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Where a test fails, its sites' logs are told; whoever puts things right after it can ask whether it failed."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
        sites = {value.home: value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Site)}
        report.sections += [(f"Logs of {home}", site.log_tails()) for home, site in sites.items()]
    return report


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
def make_shared(request: pytest.FixtureRequest) -> Callable[[], AbstractContextManager[Site]]:
    """How a module makes its `shared` site: of the module's SETTINGS and SERVERS, with the views of its SITE.

    SITE "warm" is one whose code can be changed (warm.py).
    """
    name = getattr(request.module, "SITE", "store")
    settings = getattr(request.module, "SETTINGS", {})
    if name == "warm":
        return partial(running_site, getattr(request.module, "SERVERS", 2), **settings)
    return partial(stored_site, name, **settings)


@pytest.fixture(scope="module")
def shared_by_module(make_shared: Callable[[], AbstractContextManager[Site]]) -> Iterator[Shared]:
    with Shared(make_shared) as shared:
        yield shared


@pytest.fixture
def shared(shared_by_module: Shared, request: pytest.FixtureRequest) -> Iterator[Site]:
    """A running site for all tests of a module, which leave it as they found it.

    After a test that failed, or left it otherwise, the next one gets a new one.
    """
    yield shared_by_module.site()
    if FAILED in request.node.stash or not shared_by_module.is_as_it_was_made():
        shared_by_module.end()
