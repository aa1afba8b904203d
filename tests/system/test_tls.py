"""useSSL: TLS with a certificate of the admin's; what is wrong with one is said plainly."""

from __future__ import annotations

import http.client
import shutil
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from harness import Answer, Site
from made_certificates import certificate, new_key, pem, put

NAMES = ("localhost",)


@pytest.fixture(scope="module")
def secure() -> Iterator[Site]:
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


@pytest.fixture
def folder(secure: Site) -> Iterator[Path]:
    """The certificate's folder, put back after the test."""
    folder = secure.home / "etc" / "ssl"
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


def test_visitors_are_answered_by_tls_and_zope_knows_it(secure: Site) -> None:
    answer = get(secure, "/who")
    assert answer.status == 200
    assert answer.text.split()[-1] == f"https://localhost:{secure.spare_port()}"


def test_http_redirects_there(secure: Site) -> None:
    answer = secure.get("/a/page?with=words", headers={"Host": f"localhost:{secure.port}"})
    assert answer.status == 301
    assert answer.headers["Location"] == f"https://localhost:{secure.spare_port()}/a/page?with=words"


def test_start_tells_the_address_and_status_both_ports(secure: Site) -> None:
    assert secure.ok("start").out == f"It runs already: https://127.0.0.1:{secure.spare_port()}/\n"
    listening = f"Listening (port 127.0.0.1:{secure.port}, 127.0.0.1:{secure.spare_port()})"
    assert listening in secure.ok("status", "-v", "nginx").out


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
    secure: Site, folder: Path, spoil: Callable[[Path], str]
) -> None:
    wrong = spoil(folder)
    for command in ("verify", "configure"):
        ran = secure.run(command)
        assert ran.code == 1
        assert f"zenwebserver: {wrong}" in ran.err
        assert "openssl req -x509" in ran.err
        assert "Traceback" not in ran.err


def test_a_renewed_certificate_is_served_after_a_reload(secure: Site, folder: Path) -> None:
    nginx = secure.pid("nginx")
    put(folder, NAMES)
    with pytest.raises(ssl.SSLCertVerificationError):
        get(secure, "/who")
    secure.ok("reload")
    assert get(secure, "/who").status == 200
    assert secure.pid("nginx") == nginx


def test_a_load_balancer_that_has_lost_its_certificate_says_so_when_it_is_started(secure: Site, folder: Path) -> None:
    secure.ok("stop", "nginx")
    try:
        wrong = missing(folder)
        ran = secure.run("start")
        assert ran.code == 1
        assert f"zenwebserver: {wrong}" in ran.err
    finally:
        put(folder, NAMES)
        secure.ok("start")
    assert get(secure, "/who").status == 200
