"""Who is answered from the cache, and whose answers go into it, with the real nginx."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from echo_upstream import Request, Response, Upstream
from running_nginx import Balancer, Start

PUBLIC = {"Cache-Control": "public, max-age=300"}
FRESH = {"Cache-Control": "max-age=300"}


def counting(upstream: Upstream, headers: dict[str, str], status: int = 200) -> None:
    """Each answer has the number of its request as its body."""
    upstream.answer = lambda _: Response(status, headers, str(len(upstream.requests)).encode())


def ask_twice(
    balancer: Balancer, first: dict[str, str] | None = None, second: dict[str, str] | None = None
) -> tuple[str, str]:
    return balancer.ask("/page", first).text, balancer.ask("/page", second).text


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        (PUBLIC, True),
        (FRESH, True),
        ({"Cache-Control": "s-maxage=300, max-age=0"}, True),
        ({"Expires": "Fri, 01 Jan 2100 00:00:00 GMT"}, True),
        ({}, False),
        ({"Cache-Control": "public"}, False),
        ({"Cache-Control": "max-age=0"}, False),
        ({"Cache-Control": "private, max-age=300"}, False),
        ({"Cache-Control": "no-store, max-age=300"}, False),
        ({"Cache-Control": "no-cache, max-age=300"}, False),
        ({"Cache-Control": "s-maxage=0, max-age=300"}, False),
        ({"Expires": "Thu, 01 Jan 1970 00:00:00 GMT"}, False),
        ({**PUBLIC, "Set-Cookie": "a=b"}, False),
        ({**PUBLIC, "Vary": "*"}, False),
        ({"ETag": '"x"', "Last-Modified": "Thu, 01 Jan 2015 00:00:00 GMT"}, False),
    ],
)
@pytest.mark.parametrize("path", ["/page", "/style.css"])
def test_only_what_an_answer_declares_is_kept(
    start: Start, upstream: Upstream, headers: dict[str, str], kept: bool, path: str
) -> None:
    counting(upstream, headers)
    balancer = start()
    assert (balancer.ask(path).text, balancer.ask(path).text) == (("1", "1") if kept else ("1", "2"))


@pytest.mark.parametrize("status", [500, 503])
def test_a_failure_is_never_kept(start: Start, upstream: Upstream, status: int) -> None:
    counting(upstream, PUBLIC, status)
    assert ask_twice(start()) == ("1", "2")


@pytest.mark.parametrize(
    "private",
    [
        {"Authorization": "Basic eA=="},
        {"Cookie": "__ac=x"},
        {"Cookie": '__ac="x"'},
        {"Cookie": "a=b; __ac=x"},
        {"Cookie": "a=b;__ac=x"},
        {"Cookie": "a=b, __ac=x"},
        {"Cookie": 'a="b"__ac=x'},
        {"Cookie": "__AC=x"},
        {"Cookie": "_ZopeId=x"},
        {"Cookie": "__ginger_snap=x"},
        {"Range": "bytes=0-"},
    ],
)
@pytest.mark.parametrize("headers", [PUBLIC, FRESH])
def test_a_visitor_who_is_logged_in_neither_fills_the_cache_nor_is_answered_from_it(
    start: Start, upstream: Upstream, private: dict[str, str], headers: dict[str, str]
) -> None:
    counting(upstream, headers)
    balancer = start()
    assert ask_twice(balancer, private) == ("1", "2")  # not filled by it
    assert ask_twice(balancer, private) == ("3", "2")  # not answered from it


def test_a_login_cookie_of_the_settings_counts(start: Start, upstream: Upstream) -> None:
    counting(upstream, PUBLIC)
    balancer = start("loginCookies my.session-id other\n")
    assert ask_twice(balancer, {"Cookie": "my.session-id=1"}) == ("1", "2")
    assert ask_twice(balancer, {"Cookie": "my_session-id=1"}, {"Cookie": "x=y; other=z"}) == ("2", "3")


@pytest.mark.parametrize(
    ("control", "kept"),
    [
        ("public, max-age=300", True),
        ("max-age=300,public", True),
        ("max-age=300, PUBLIC", True),
        ("max-age=300", False),
        ("max-age=300, x-public", False),
        ("max-age=300, publicity", False),
        ("private, max-age=300", False),
    ],
)
def test_with_another_cookie_only_what_says_public_is_kept(
    start: Start, upstream: Upstream, control: str, kept: bool
) -> None:
    counting(upstream, {"Cache-Control": control})
    assert ask_twice(start(), {"Cookie": "language=de"}) == (("1", "1") if kept else ("1", "2"))


def test_a_visitor_with_another_cookie_is_answered_from_the_cache(start: Start, upstream: Upstream) -> None:
    counting(upstream, FRESH)
    assert ask_twice(start(), {}, {"Cookie": "language=de; __ac_name=x"}) == ("1", "1")


def test_what_varies_is_kept_for_each_kind_of_visitor(start: Start, upstream: Upstream) -> None:
    counting(upstream, {**PUBLIC, "Vary": "Accept-Language"})
    balancer = start()
    assert ask_twice(balancer, {"Accept-Language": "de"}, {"Accept-Language": "en"}) == ("1", "2")
    assert ask_twice(balancer, {"Accept-Language": "en"}, {"Accept-Language": "en"})[1] == "2"


def test_another_host_query_or_encoding_is_another_answer(start: Start, upstream: Upstream) -> None:
    counting(upstream, PUBLIC)
    balancer = start()
    targets = [("/a?b", "x.org"), ("/a%3Fb", "x.org"), ("/a?b", "y.org"), ("/a", "x.org")]
    assert [balancer.ask(target, host=host).text for target, host in targets] == ["1", "2", "3", "4"]
    assert [balancer.ask(target, host=host).text for target, host in targets] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "PROPFIND"])
def test_other_methods_than_get_pass_and_are_not_kept(start: Start, upstream: Upstream, method: str) -> None:
    counting(upstream, PUBLIC)
    balancer = start()
    balancer.ask("/page", method=method)
    balancer.ask("/page", method=method)
    assert balancer.ask("/page").text == "3"
    assert [request.method for request in upstream.requests] == [method, method, "GET"]


def test_a_get_with_a_body_is_not_kept(start: Start, upstream: Upstream) -> None:
    counting(upstream, PUBLIC)
    balancer = start()
    balancer.ask("/page", body=b"poison")
    assert balancer.ask("/page").text == "2"


def test_a_logged_in_visitors_conditions_and_ranges_reach_zope(start: Start, upstream: Upstream) -> None:
    conditions = {"If-None-Match": '"1"', "If-Modified-Since": "Thu, 01 Jan 2015 00:00:00 GMT"}
    ranges = {"Range": "bytes=1-2", "If-Range": '"1"'}
    upstream.answer = lambda _: Response(304, {"ETag": '"1"'})
    reply = start().ask("/page", {"Cookie": "__ac=x", **conditions, **ranges})
    assert reply.status == 304
    seen = upstream.requests[0].headers
    sent = {**conditions, **ranges}
    assert {name: seen.get(name.lower()) for name in sent} == sent


def test_an_anonymous_visitors_condition_does_not_put_an_empty_answer_into_the_cache(
    start: Start, upstream: Upstream
) -> None:
    def answer(request: Request) -> Response:
        if "if-none-match" in request.headers:
            return Response(304, {**PUBLIC, "ETag": '"1"'})
        return Response(200, {**PUBLIC, "ETag": '"1"'}, b"whole")

    upstream.answer = answer
    balancer = start()
    assert balancer.ask("/page", {"If-None-Match": '"1"'}).status == 304
    assert balancer.ask("/page").text == "whole"
    assert balancer.ask("/page", {"Range": "bytes=0-1"}).status == 200  # as the server answers


def test_what_has_ended_is_fetched_anew(start: Start, upstream: Upstream) -> None:
    counting(upstream, {"Cache-Control": "public, max-age=1"})
    balancer = start()
    assert ask_twice(balancer) == ("1", "1")
    assert _first_other(balancer, "1") == "2"


def test_stale_while_revalidate_answers_at_once_and_fetches_behind_the_visitors_back(
    start: Start, upstream: Upstream
) -> None:
    release = threading.Event()
    first_is_kept = threading.Event()

    def answer(_: Request) -> Response:
        number = len(upstream.requests)
        if first_is_kept.is_set():
            assert release.wait(20)
        control = "public, max-age=1, stale-while-revalidate=60"
        return Response(200, {"Cache-Control": control}, str(number).encode())

    upstream.answer = answer
    balancer = start()
    assert ask_twice(balancer) == ("1", "1")
    first_is_kept.set()
    until = time.monotonic() + 20
    while len(upstream.requests) < 2:  # the second second has begun once nginx asks
        assert balancer.ask("/page").text == "1"
        assert time.monotonic() < until
    assert balancer.ask("/page").text == "1"  # while Zope still works on the new one
    release.set()
    assert _first_other(balancer, "1") == "2"


def _first_other(balancer: Balancer, old: str) -> str:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if (text := balancer.ask("/page").text) != old:
            return text
    raise AssertionError(f"always {old}")


def test_many_at_once_make_one_request_for_a_style_sheet(start: Start, upstream: Upstream) -> None:
    busy = threading.Event()

    def answer(_: Request) -> Response:
        busy.wait(0.5)  # never set: the others arrive meanwhile
        return Response(200, PUBLIC, b"css")

    upstream.answer = answer
    balancer = start()
    with ThreadPoolExecutor(8) as visitors:
        replies = list(visitors.map(balancer.ask, ["/style.css"] * 8))
    assert {reply.text for reply in replies} == {"css"}
    assert len(upstream.requests) == 1


def test_a_page_that_is_not_kept_is_made_for_many_at_once(start: Start, upstream: Upstream) -> None:
    together = threading.Barrier(8, timeout=20)

    def answer(_: Request) -> Response:
        together.wait()  # breaks unless eight requests are here at the same time
        return Response(200, {}, b"page")

    upstream.answer = answer
    balancer = start()
    with ThreadPoolExecutor(8) as visitors:
        replies = list(visitors.map(balancer.ask, ["/page"] * 8))
    assert [reply.text for reply in replies] == ["page"] * 8


TEXT = b"a text that is long enough to be worth it. " * 100


@pytest.mark.parametrize(
    ("kind", "packed"),
    [
        ("text/html; charset=utf-8", True),
        ("text/css", True),
        ("application/javascript", True),
        ("application/json", True),
        ("image/svg+xml", True),
        ("image/png", False),
        ("application/zip", False),
        ("font/woff2", False),
    ],
)
def test_text_is_compressed_for_who_can_read_it(start: Start, upstream: Upstream, kind: str, packed: bool) -> None:
    answer = Response(200, {"Content-Type": kind, **PUBLIC}, TEXT)
    upstream.answer = lambda _: answer
    balancer = start()
    reply = balancer.ask("/a", {"Accept-Encoding": "gzip", "Via": "1.1 proxy"})
    assert (reply.headers.get("content-encoding") == "gzip") == packed
    plain = balancer.ask("/a")
    assert (plain.body, plain.headers.get("content-encoding")) == (TEXT, None)
    assert (plain.headers.get("vary") == "Accept-Encoding") == packed
    assert "accept-encoding" not in upstream.requests[0].headers
    assert len(upstream.requests) == 1
    upstream.answer = lambda _: replace(answer, body=b"short")
    assert "content-encoding" not in balancer.ask("/b", {"Accept-Encoding": "gzip"}).headers


def test_without_gzip_the_servers_decide(start: Start, upstream: Upstream) -> None:
    upstream.answer = lambda _: Response(200, {"Content-Type": "text/html"}, TEXT)
    reply = start("gzip off\n").ask("/", {"Accept-Encoding": "gzip"})
    assert reply.body == TEXT
    assert upstream.requests[0].headers["accept-encoding"] == "gzip"
