"""Settings and the template: configure, verify and reload, and mistakes in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Ran, Site

Edit = Callable[..., None]


@pytest.fixture(scope="module")
def home() -> Iterator[Site]:
    """A home with an nginx.conf, nothing running."""
    site = Site()
    try:
        site.init().ok("configure")
        yield site
    finally:
        site.end()


@pytest.fixture
def put_back(home: Site) -> Iterator[None]:
    before = snapshot(home)
    yield
    for path in (home.home / "etc").rglob("*"):
        if path.is_file() and path not in before:
            path.unlink()
    for path, (content, _) in before.items():
        path.write_bytes(content)


def snapshot(site: Site) -> dict[Path, tuple[bytes, int]]:
    """Every file of etc/: content and time of the last change."""
    files = (path for path in (site.home / "etc").rglob("*") if path.is_file())
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def settings(site: Site) -> Path:
    return site.home / "etc" / "zenwebserver.conf"


def template(site: Site) -> Path:
    return site.home / "etc" / "nginx.conf.template"


def add(path: Path, line: str) -> int:
    """Append `line`; returns its number."""
    text = path.read_text().rstrip("\n") + "\n" + line + "\n"
    path.write_text(text)
    return text.count("\n")


def refused(ran: Ran, *words: str) -> None:
    assert ran.code == 1, ran
    for word in words:
        assert word in ran.err, ran
    assert "Traceback" not in ran.err


@pytest.mark.usefixtures("put_back")
class TestMistakes:
    """Each is told with its place, by `configure` and by `verify`, and nothing is changed."""

    def told(self, home: Site, *words: str) -> None:
        before = snapshot(home)
        refused(home.run("configure"), *words)
        refused(home.run("verify"), *words)
        assert snapshot(home) == before

    def test_an_unknown_key(self, home: Site) -> None:
        line = add(settings(home), "htpPort 8081")
        self.told(home, f"{settings(home)}, line {line}: ", "htpPort", "did you mean httpPort?")

    def test_a_bad_value(self, home: Site) -> None:
        line = add(settings(home), "threads many")
        self.told(home, f"{settings(home)}, line {line}: ", 'threads cannot be "many"', "accepted is")

    def test_keys_that_clash(self, home: Site) -> None:
        line = add(settings(home), f"sslPort {home.port}")
        add(settings(home), "useSSL True")
        self.told(home, f"{settings(home)}, line {line}: ", "httpPort", "sslPort", "the same port")

    def test_a_variable_that_the_template_uses_and_nobody_sets(self, home: Site) -> None:
        line = add(template(home), "# {{ siteMoto }}")
        self.told(home, f"{template(home)}, line {line}: ", "the variable siteMoto is unknown")

    def test_wrong_syntax_of_the_template(self, home: Site) -> None:
        line = add(template(home), "{% if %}")
        self.told(home, f"{template(home)}, line {line}: ")

    def test_a_template_that_nginx_rejects(self, home: Site) -> None:
        add(template(home), "frobnicate on;")
        self.told(home, 'unknown directive "frobnicate"', "nginx rejects the configuration", "Nothing was changed")
        ran = home.run("configure")
        assert f"{'Writing nginx.conf':<50}[FAIL]\n" in ran.out

    def test_a_custom_include_that_nginx_rejects(self, home: Site) -> None:
        (home.home / "etc" / "nginx-custom-server-x.conf").write_text("listen nowhere at all;\n")
        self.told(home, "nginx-custom-server-x.conf:1", "nginx rejects the configuration")

    def test_start_tells_it_too(self, home: Site) -> None:
        line = add(settings(home), "threads many")
        refused(home.run("start"), f"{settings(home)}, line {line}: ")


@pytest.mark.usefixtures("put_back")
def test_verify_changes_nothing(home: Site) -> None:
    before = snapshot(home)
    assert home.ok("verify").out.endswith("Settings and configurations are well\n")
    assert snapshot(home) == before
    add(settings(home), "error_log_level info")
    before = snapshot(home)
    ran = home.ok("verify")
    assert "etc/nginx.conf is older than the settings or template; to renew it: zenwebserver configure\n" in ran.out
    assert snapshot(home) == before


@pytest.mark.usefixtures("put_back")
def test_configure_keeps_the_former_file_and_a_second_time_changes_nothing(home: Site) -> None:
    nginx_conf = home.home / "etc" / "nginx.conf"
    former = nginx_conf.read_bytes()
    add(settings(home), "client_body_temp_path $ZENHOME/var/uploads")
    assert "its next start, restart or reload uses it" in home.ok("configure").out
    assert f"{home.home}/var/uploads" in nginx_conf.read_text()
    assert nginx_conf.with_name("nginx.conf.prev").read_bytes() == former
    before = snapshot(home)
    assert home.ok("configure").out.endswith("Nothing changed\n")
    assert snapshot(home) == before
    first = nginx_conf.read_text().splitlines()[:2]
    assert "Generated by zenwebserver" in first[0]
    assert "nginx.conf.template" in first[0]
    assert "zenwebserver.conf" in first[0]


@pytest.mark.usefixtures("put_back")
def test_an_edited_template_is_never_overwritten(home: Site) -> None:
    text = template(home).read_text().replace("server_tokens off;", "server_tokens on;")
    template(home).write_text(text)
    for command in ("init", "configure", "verify", "configure"):
        home.ok(command)
        assert template(home).read_text() == text
    assert "server_tokens on;" in (home.home / "etc" / "nginx.conf").read_text()


def test_reload_needs_a_running_load_balancer(home: Site) -> None:
    refused(home.run("reload"), "The load balancer is not running", "zenwebserver start")
