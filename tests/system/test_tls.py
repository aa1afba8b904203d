"""useSSL: TLS with a certificate of the admin's; what is wrong with one is said plainly."""

from __future__ import annotations

import http.client
import shutil
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from harness import Answer, Site
from made_certificates import certificate, new_key, pem, put

NAMES = ("localhost",)


@contextmanager
def secure_site() -> Iterator[Site]:
    """A running site with TLS."""
    site = Site(useSSL=True)
    site.settings["sslPort"] = site.spare_port()
    try:
        site.init().use("store")
        put(site.home / "etc" / "ssl", NAMES)
        site.ok("start")
        yield site
    finally:
        site.end()


@pytest.fixture(scope="module")
def make_shared() -> Callable[[], AbstractContextManager[Site]]:
    return secure_site


@pytest.fixture
def folder(shared: Site) -> Iterator[Path]:
    """The certificate's folder, put back after the test."""
    folder = shared.home / "etc" / "ssl"
    kept = shutil.copytree(folder, folder.with_name("ssl.kept"))
    yield folder
    shutil.rmtree(folder)
    kept.rename(folder)


def get(site: Site, path: str) -> Answer:
    """By TLS, as a visitor who trusts this certificate."""
    trust = ssl.create_default_context(cafile=str(site.home / "etc" / "ssl" / "zenoss.crt"))
    connection = http.client.HTTPSConnection("localhost", site.spare_port(), context=trust, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def test_visitors_are_answered_by_tls_and_zope_knows_it(shared: Site) -> None:
    answer = get(shared, "/who")
    assert answer.status == 200
    assert answer.text.split()[-1] == f"https://localhost:{shared.spare_port()}"


def test_http_redirects_there(shared: Site) -> None:
    answer = shared.get("/a/page?with=words", headers={"Host": f"localhost:{shared.port}"})
    assert answer.status == 301
    assert answer.headers["Location"] == f"https://localhost:{shared.spare_port()}/a/page?with=words"


def test_start_tells_the_address_and_status_both_ports(shared: Site) -> None:
    assert shared.ok("start").out == f"It runs already: https://127.0.0.1:{shared.spare_port()}/\n"
    listening = f"Listening (port 127.0.0.1:{shared.port}, 127.0.0.1:{shared.spare_port()})"
    assert listening in shared.ok("status", "-v", "nginx").out


def missing(folder: Path) -> str:
    (folder / "zenoss.crt").unlink()
    return f"The certificate does not exist: {folder / 'zenoss.crt'}"


def missing_key(folder: Path) -> str:
    (folder / "zenoss.key").unlink()
    return f"The certificate's key does not exist: {folder / 'zenoss.key'}"


def mismatched(folder: Path) -> str:
    (folder / "zenoss.key").write_bytes(pem(new_key()))
    return f"The key does not fit the certificate: {folder / 'zenoss.key'} and {folder / 'zenoss.crt'}"


def expired(folder: Path) -> str:
    key, now = new_key(), datetime.now(UTC)
    (folder / "zenoss.key").write_bytes(pem(key))
    (folder / "zenoss.crt").write_bytes(certificate(key, NAMES, now - timedelta(days=9), now - timedelta(days=2)))
    return f"The certificate has expired: {folder / 'zenoss.crt'} ended on "


@pytest.mark.parametrize("spoil", [missing, missing_key, mismatched, expired])
def test_a_certificate_that_cannot_be_used_is_said_plainly(
    shared: Site, folder: Path, spoil: Callable[[Path], str]
) -> None:
    wrong = spoil(folder)
    for command in ("verify", "configure"):
        ran = shared.run(command)
        assert ran.code == 1
        assert f"zenwebserver: {wrong}" in ran.err
        assert "openssl req -x509" in ran.err
        assert "Traceback" not in ran.err


def test_a_renewed_certificate_is_served_after_a_reload(shared: Site, folder: Path) -> None:
    nginx = shared.pid("nginx")
    put(folder, NAMES)
    with pytest.raises(ssl.SSLCertVerificationError):
        get(shared, "/who")
    shared.ok("reload")
    assert get(shared, "/who").status == 200
    assert shared.pid("nginx") == nginx


def test_a_load_balancer_that_has_lost_its_certificate_says_so_when_it_is_started(shared: Site, folder: Path) -> None:
    shared.ok("stop", "nginx")
    try:
        wrong = missing(folder)
        ran = shared.run("start")
        assert ran.code == 1
        assert f"zenwebserver: {wrong}" in ran.err
    finally:
        put(folder, NAMES)
        shared.ok("start")
    assert get(shared, "/who").status == 200
