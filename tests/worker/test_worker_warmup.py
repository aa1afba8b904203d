"""What the warm-up asks a site for, and which answers it accepts."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from zenwebserver.worker.warmup import WarmUp, WarmUpFailed


class Body(list[bytes]):
    closed = False

    def close(self) -> None:
        self.closed = True


class Site:
    """Notes each request."""

    def __init__(self, status: str = "200 OK") -> None:
        self.status = status
        self.asked: list[dict[str, Any]] = []
        self.threads: set[int] = set()
        self.bodies: list[Body] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.asked.append(environ)
        self.threads.add(threading.get_ident())
        start_response(self.status, [])
        self.bodies.append(Body([b"page"]))
        return self.bodies[-1]


def warm_up(*paths: str, base: str = "https://www.example.org", root: str = "", threads: int = 3) -> WarmUp:
    return WarmUp(paths, base, root, threads)


def test_each_page_is_made_once_alone_and_once_a_thread_and_its_body_closed() -> None:
    site = Site()
    warm_up("/", "/news").run(site)
    assert Counter(asked["PATH_INFO"].partition("VirtualHostRoot")[2] for asked in site.asked) == {"/": 4, "/news": 4}
    assert threading.get_ident() in site.threads
    assert all(body.closed for body in site.bodies)


@pytest.mark.parametrize(
    ("base", "root", "path", "path_info", "query"),
    [
        ("http://localhost:8080", "", "/", "/VirtualHostBase/http/localhost:8080/VirtualHostRoot/", ""),
        ("https://a.b", "/Plone", "/x?y=1", "/VirtualHostBase/https/a.b/Plone/VirtualHostRoot/x", "y=1"),
        ("http://a.b", "", "/a%20b%C3%BC", "/VirtualHostBase/http/a.b/VirtualHostRoot/a b\xc3\xbc", ""),
    ],
)
def test_pages_are_asked_for_as_nginx_asks_for_a_visitor(
    base: str, root: str, path: str, path_info: str, query: str
) -> None:
    site = Site()
    warm_up(path, base=base, root=root).run(site)
    environ = site.asked[0]
    assert environ["PATH_INFO"] == path_info
    assert environ["QUERY_STRING"] == query
    assert environ["wsgi.url_scheme"] == base.partition(":")[0]
    assert environ["HTTP_HOST"] == base.partition("//")[2]


@pytest.mark.parametrize("status", ["200 OK", "302 Found", "401 Unauthorized", "404 Not Found"])
def test_a_status_below_500_passes(status: str) -> None:
    warm_up("/").run(Site(status))


def test_a_status_of_500_fails_and_is_told() -> None:
    with pytest.raises(WarmUpFailed, match="The warm-up of /shop was answered: 503 Service Unavailable"):
        warm_up("/shop").run(Site("503 Service Unavailable"))


def test_an_exception_of_the_site_fails_and_is_told() -> None:
    def broken(_environ: dict[str, Any], _start: Callable[..., Any]) -> Iterable[bytes]:
        raise KeyError("gone")

    with pytest.raises(WarmUpFailed, match=r"The warm-up of / failed: KeyError: 'gone'"):
        warm_up("/").run(broken)


def test_without_paths_nothing_is_asked_for() -> None:
    site = Site()
    warm_up().run(site)
    assert site.asked == []
