"""HTTPS with the real nginx."""

from __future__ import annotations

import socket
import ssl
import warnings

import pytest
from echo_upstream import Upstream
from made_certificates import put
from running_nginx import Balancer, Start

from zenwebserver.home import Home

TLS = "useSSL True\n"


@pytest.fixture
def trusting(home: Home) -> ssl.SSLContext:
    """A visitor who trusts the certificate in the home, and knows all its names."""
    cert, _ = put(home.etc / "ssl", ["www.example.org", "a.example.net", "evil.example", "other.example"])
    return ssl.create_default_context(cafile=str(cert))


def only(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the old versions, which is the point
        context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def test_the_site_is_served_by_https(start: Start, upstream: Upstream, trusting: ssl.SSLContext) -> None:
    balancer = start(TLS)
    assert balancer.ask("/x", tls=trusting).status == 200
    seen = upstream.requests[0]
    root = f"/VirtualHostBase/https/www.example.org:{balancer.ssl_port}/VirtualHostRoot"
    assert seen.path == f"{root}/x"
    assert seen.headers["x-forwarded-proto"] == "https"
    assert balancer.ask("/_vh_evil", tls=trusting).status == 404


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_http_redirects_to_https(start: Start, upstream: Upstream, trusting: ssl.SSLContext, method: str) -> None:
    balancer = start(TLS)
    reply = balancer.ask("/a%20b?c=%0d", method=method)
    place = f"https://www.example.org:{balancer.ssl_port}/a%20b?c=%0d"
    assert (reply.status, reply.headers["location"]) == (301, place)
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("target", "behind"),
    [
        ("/%0d%0aSet-Cookie:%20a=b", "/%0d%0aSet-Cookie:%20a=b"),
        ("//evil.example/", "//evil.example/"),
        ("/@evil.example", "/@evil.example"),
        ("/%0a", "/%0a"),
        ("http://www.example.org/x", "/x"),
        ("http://www.example.org", "/"),
    ],
)
@pytest.mark.parametrize("site_url", ["", "siteURL https://www.example.org\n"])
def test_the_redirect_never_leaves_the_site_nor_adds_a_header(
    start: Start, trusting: ssl.SSLContext, target: str, behind: str, site_url: str
) -> None:
    balancer = start(TLS + site_url)
    reply = balancer.ask(target)
    site = "https://www.example.org" if site_url else f"https://www.example.org:{balancer.ssl_port}"
    assert reply.headers["location"] == site + behind
    assert "set-cookie" not in reply.headers


def test_a_malformed_host_is_not_redirected(start: Start, trusting: ssl.SSLContext) -> None:
    assert start(TLS).ask("/", host="evil<script>").status == 400


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_modern_tls_is_spoken(start: Start, trusting: ssl.SSLContext, version: ssl.TLSVersion) -> None:
    assert start(TLS).ask("/", tls=only(version)).status == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls_is_refused(start: Start, trusting: ssl.SSLContext, version: ssl.TLSVersion) -> None:
    with pytest.raises(ssl.SSLError):
        start(TLS).ask("/", tls=only(version))


@pytest.mark.parametrize("cipher", ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384"])
def test_weak_ciphers_are_refused(start: Start, trusting: ssl.SSLContext, cipher: str) -> None:
    visitor = only(ssl.TLSVersion.TLSv1_2)
    visitor.set_ciphers(f"{cipher}:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        start(TLS).ask("/", tls=visitor)


def test_http2_is_offered_and_plain_http_does_not_break_it(start: Start, trusting: ssl.SSLContext) -> None:
    balancer = start(TLS)
    trusting.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", balancer.ssl_port), timeout=20) as plain,
        trusting.wrap_socket(plain, server_hostname="www.example.org") as connection,
    ):
        assert connection.selected_alpn_protocol() == "h2"


def handshake(balancer: Balancer, trusting: ssl.SSLContext, name: str | None) -> bool:
    trusting.check_hostname = name is not None
    with socket.create_connection(("127.0.0.1", balancer.ssl_port), timeout=20) as plain:
        try:
            trusting.wrap_socket(plain, server_hostname=name).close()
        except (ssl.SSLError, ConnectionResetError):
            return False
        return True


@pytest.mark.parametrize(
    ("name", "accepted"),
    [("www.example.org", True), ("a.example.net", True), ("evil.example", False), (None, False)],
)
def test_the_handshake_is_only_for_allowed_host_names(
    start: Start, trusting: ssl.SSLContext, name: str | None, accepted: bool
) -> None:
    balancer = start(TLS + "hostNames www.example.org *.example.net\n")
    assert handshake(balancer, trusting, name) == accepted


def test_another_host_behind_an_allowed_handshake_gets_no_reply(
    start: Start, upstream: Upstream, trusting: ssl.SSLContext
) -> None:
    balancer = start(TLS + "hostNames www.example.org\n")
    raw = b"GET / HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n"
    assert balancer.send(raw, tls=trusting, name="www.example.org") is None
    assert balancer.send(raw) is None  # nor a redirect
    assert balancer.ask("/", tls=trusting).status == 200
    assert len(upstream.requests) == 1
