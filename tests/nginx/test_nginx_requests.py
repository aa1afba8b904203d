"""What a visitor can and cannot make Zope believe, with the real nginx."""

from __future__ import annotations

import json

import pytest
from echo_upstream import Request, Response, Upstream
from running_nginx import Start


def test_a_path_reaches_zope_below_the_virtual_root(start: Start, upstream: Upstream) -> None:
    balancer = start()
    balancer.ask("/news/item?x=%2F&y=a+b", host="www.example.org")
    root = f"/VirtualHostBase/http/www.example.org:{balancer.port}/VirtualHostRoot"
    assert upstream.requests[0].path == f"{root}/news/item?x=%2F&y=a+b"


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        ("/", "/"),
        ("/a%20b", "/a%20b"),
        ("/100%25", "/100%25"),
        ("/a%3Fb", "/a%3Fb"),
        ("/a%23b", "/a%23b"),
        ("/a+b;c=d", "/a+b;c=d"),
        ("/%C3%BC", "/%C3%BC"),
        ("/a%252fb", "/a%252fb"),
        ("/a//b", "/a/b"),
        ("/a/./b/../c", "/a/c"),
        ("/a/%2e%2e/b", "/b"),
        ("/x%0aSet-Cookie:%20a=b", "/x%0ASet-Cookie:%20a=b"),
        ("/%0d%0aX:%20y", "/%0D%0AX:%20y"),
    ],
)
def test_an_odd_path_stays_what_it_is(start: Start, upstream: Upstream, sent: str, arrives: str) -> None:
    start().ask(sent)
    assert upstream.paths() == [arrives]


@pytest.mark.parametrize(
    "target",
    [
        "/VirtualHostBase/https/evil.example:443/VirtualHostRoot/",
        "//VirtualHostBase/https/evil.example:443/VirtualHostRoot/",
        "/%0a/VirtualHostBase/https/evil.example:443/",
        "/a%0aVirtualHostRoot/../VirtualHostRoot/_vh_evil",
        "/VirtualHostRoot",
        "/VirtualHostRoot/_vh_evil/",
        "/a/VirtualHostRoot/b",
        "/a/VirtualHostBase",
        "/_vh_evil/",
        "/a/_vh_evil",
        "/a/_vh_",
        "/%5fvh_evil/",
        "/%5F%76%68%5fevil",
        "/a%2f_vh_evil",
        "/a%2F%5Fvh_evil",
        "/a%2fVirtualHostRoot%2f",
        "/Virtual%48ostBase/http/evil/",
        "/./_vh_evil",
        "/a/../_vh_evil",
        "/a/%2e%2e/_vh_evil",
        "/a/..%2f_vh_evil",
        "/%0a_vh_/../_vh_evil",
        "/VirtualHostRoot%0a",
        "/VirtualHostRoot%20",
        "http://www.example.org/_vh_evil/",
    ],
)
def test_words_of_the_virtual_host_monster_from_outside_are_not_found(
    start: Start, upstream: Upstream, target: str
) -> None:
    assert start().ask(target).status == 404
    assert upstream.requests == []


@pytest.mark.parametrize("target", ["/..", "/../..", "/%2e%2e/x", "/..%2f..%2fx", "/a%00b", "/a b"])
def test_a_path_above_the_root_or_a_broken_one_is_a_bad_request(start: Start, upstream: Upstream, target: str) -> None:
    assert start().ask(target).status == 400
    assert upstream.requests == []


@pytest.mark.parametrize("target", ["/%252e%252e/x", "/a%0a/%252e%252e%252fVirtualHostRoot", "/vh_x", "/my_vh_x"])
def test_what_only_looks_like_it_passes_below_the_virtual_root(start: Start, upstream: Upstream, target: str) -> None:
    balancer = start()
    assert balancer.ask(target).status == 200
    root = f"/VirtualHostBase/http/www.example.org:{balancer.port}/VirtualHostRoot/"
    assert upstream.requests[0].path.startswith(root)


SPOOFED = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "1",
    "X-Forwarded-Proto": "evil",
    "X-Forwarded-Server": "evil",
    "X-Forwarded-User": "evil",
    "X-Forwarded-Prefix": "/evil",
    "X-Real-IP": "203.0.113.9",
    "Forwarded": "for=203.0.113.9;host=evil.example",
    "Remote-User": "evil",
    "X-Remote-User": "evil",
    "Remote-Addr": "203.0.113.9",
    "Proxy": "http://evil.example",
    "X-Original-URL": "/evil",
    "X-Rewrite-URL": "/evil",
    "X_Forwarded_For": "203.0.113.9",
    "REMOTE_USER": "evil",
    "Upgrade": "evil",
    "Connection": "evil, close",
    "Keep-Alive": "evil",
}


def test_a_visitor_cannot_set_what_zope_hears_from_nginx(start: Start, upstream: Upstream) -> None:
    balancer = start()
    balancer.ask("/", SPOOFED)
    seen = upstream.requests[0].headers
    assert {name: value for name, value in seen.items() if "evil" in value or "203.0.113.9" in value} == {}
    assert seen["x-forwarded-for"] == seen["x-real-ip"] == "127.0.0.1"
    assert seen["x-forwarded-host"] == seen["host"] == f"www.example.org:{balancer.port}"
    assert (seen["x-forwarded-proto"], seen["x-forwarded-port"]) == ("http", str(balancer.port))


def test_what_is_zopes_business_passes(start: Start, upstream: Upstream) -> None:
    sent = {
        "Authorization": "Basic eA==",
        "Cookie": "a=b; __ac=c",
        "Accept-Language": "de",
        "If-Match": '"x"',
    }
    start().ask("/", {**sent, "User-Agent": "test", "Referer": "http://www.example.org/"}, method="PROPFIND")
    seen = upstream.requests[0].headers
    assert {name: seen.get(name.lower()) for name in sent} == sent
    assert (upstream.requests[0].method, seen["user-agent"]) == ("PROPFIND", "test")


def test_the_site_url_is_what_zope_believes(start: Start, upstream: Upstream) -> None:
    balancer = start("siteURL https://www.example.com\n")
    balancer.ask("/x", {"X-Forwarded-Host": "evil.example"}, host="inside.example:1234")
    seen = upstream.requests[0]
    assert seen.path == "/VirtualHostBase/https/www.example.com:443/VirtualHostRoot/x"
    assert (seen.headers["host"], seen.headers["x-forwarded-proto"]) == ("www.example.com", "https")


@pytest.mark.parametrize(
    ("host", "believed"),
    [
        ("www.example.org", "www.example.org"),
        ("WWW.Example.ORG:99", "www.example.org"),
        ("www.example.org.", "www.example.org"),
        ("localhost", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]:8080", "[::1]"),
        ("my_container", "my_container"),
    ],
)
def test_a_well_formed_host_is_believed_with_our_own_port(
    start: Start, upstream: Upstream, host: str, believed: str
) -> None:
    balancer = start()
    balancer.ask("/", host=host)
    root = f"/VirtualHostBase/http/{believed}:{balancer.port}/VirtualHostRoot/"
    assert upstream.requests[0].path == root


@pytest.mark.parametrize(
    "host",
    [
        "evil<script>",
        'a"b',
        "a?b",
        "a#b",
        "a@b",
        "a%2fb",
        "a/b",
        "a b",
        "-",
        "a..b",
        "$host",
        "\xe4.example",
        "*",
        ".",
        "[zz]",
    ],
)
def test_a_malformed_host_is_a_bad_request(start: Start, upstream: Upstream, host: str) -> None:
    assert start().ask("/", host=host).status == 400
    assert upstream.requests == []


def test_two_hosts_are_a_bad_request(start: Start, upstream: Upstream) -> None:
    assert start().ask("/", {"HOST": "evil.example"}).status == 400
    assert upstream.requests == []


def test_http_1_0_without_a_host_is_served_by_the_address(start: Start, upstream: Upstream) -> None:
    balancer = start()
    reply = balancer.send(b"GET /x HTTP/1.0\r\n\r\n")
    assert reply is not None
    assert reply.status == 200
    assert upstream.requests[0].path == f"/VirtualHostBase/http/127.0.0.1:{balancer.port}/VirtualHostRoot/x"


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("www.example.org", True),
        ("WWW.EXAMPLE.ORG:80", True),
        ("a.b.example.net", True),
        ("example.net", False),
        ("evil.example", False),
        ("127.0.0.1", False),
        ("www.example.org.evil.example", False),
    ],
)
def test_only_allowed_host_names_are_answered(start: Start, upstream: Upstream, host: str, served: bool) -> None:
    balancer = start("hostNames www.example.org *.example.net\n")
    reply = balancer.send(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert (reply is not None and reply.status == 200) == served
    assert (reply is None) == (not served)
    assert len(upstream.requests) == served


def test_a_wildcard_lets_no_malformed_host_through(start: Start, upstream: Upstream) -> None:
    balancer = start("hostNames *.example.net\n")
    assert balancer.ask("/", host="<b>.example.net").status == 400
    assert balancer.send(b"GET / HTTP/1.0\r\n\r\n") is None
    assert upstream.requests == []


def test_an_absolute_request_line_names_the_host(start: Start, upstream: Upstream) -> None:
    balancer = start("hostNames www.example.org\n")
    raw = b"GET http://evil.example/ HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n"
    assert balancer.send(raw) is None
    assert upstream.requests == []


def test_a_large_body_arrives_whole_and_a_larger_one_is_refused(start: Start, upstream: Upstream) -> None:
    balancer = start("clientMaxBodySize 8m\n")
    reply = balancer.ask("/upload", method="POST", body=b"x" * 8_000_000)
    assert json.loads(reply.body)["size"] == 8_000_000
    too_large = b"POST /upload HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 9000000\r\n\r\n"
    refused = balancer.send(too_large)
    assert refused is not None
    assert refused.status == 413
    assert len(upstream.requests) == 1


def test_connections_to_the_server_are_kept(start: Start, upstream: Upstream) -> None:
    balancer = start()
    for _ in range(3):
        balancer.ask("/")
    assert all("connection" not in request.headers for request in upstream.requests)


def test_a_reply_does_not_say_which_software_answers(start: Start, upstream: Upstream) -> None:
    upstream.answer = lambda _: Response(200, {"X-Powered-By": "Zope (www.zope.org), Python"}, b"x")
    reply = start().ask("/")
    assert "x-powered-by" not in reply.headers
    assert reply.headers["server"] == "nginx"


def test_custom_includes_stand_in_the_http_and_in_the_server_block(start: Start, upstream: Upstream) -> None:
    def answer(request: Request) -> Response:
        return Response(200, {}, request.headers["x-forwarded-for"].encode())

    upstream.answer = answer
    etc = start().home.etc  # the home exists once it was started
    (etc / "nginx-custom-http-proxy.conf").write_text("set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;\n")
    (etc / "nginx-custom-server-static.conf").write_text("location /mine { return 200 'by nginx'; }\n")
    second = start()
    assert second.ask("/mine/style.css").body == b"by nginx"
    assert second.ask("/", {"X-Forwarded-For": "203.0.113.9"}).body == b"203.0.113.9"
    assert second.ask("/mine/_vh_evil").status == 404
