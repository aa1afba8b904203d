"""What takes effect in a running site by `configure` and `reload`, without a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Site, wait_until
from load import Load


@pytest.fixture
def etc(shared: Site) -> Iterator[Path]:
    """etc/, put back after the test, in force again."""
    folder = shared.home / "etc"
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    yield folder
    for path in folder.iterdir():
        if path.is_file() and path not in before:
            path.unlink()
    for path, content in before.items():
        path.write_bytes(content)
    shared.ok("configure")
    shared.ok("reload")


def refuses(site: Site, port: int) -> bool:
    try:
        site.get("/who", port=port)
    except ConnectionRefusedError:
        return True
    except OSError:  # a worker that leaves has had the connection
        return False
    return False


def test_another_port(shared: Site, etc: Path) -> None:
    nginx, servers = shared.pid("nginx"), [shared.pid("zope1"), shared.pid("zope2")]
    new = shared.spare_port()
    conf = etc / "zenwebserver.conf"
    conf.write_text(conf.read_text().replace(f"httpPort {shared.port}", f"httpPort {new}"))
    assert "To put it into effect: zenwebserver reload (or restart)\n" in shared.ok("configure").out
    assert shared.get("/who").status == 200
    assert refuses(shared, new)
    shared.ok("reload")
    assert shared.get("/who", port=new).status == 200
    wait_until(lambda: refuses(shared, shared.port), "the workers that leave have closed the former port")
    assert shared.pid("nginx") == nginx
    assert [shared.pid("zope1"), shared.pid("zope2")] == servers
    assert f"Listening (port 127.0.0.1:{new})" in shared.ok("status", "-v", "nginx").out


def test_a_key_of_the_admins_own_in_the_template(shared: Site, etc: Path) -> None:
    template = etc / "nginx.conf.template"
    former = "server_tokens off;"
    template.write_text(template.read_text().replace(former, former + " add_header X-Motto {{ motto | quoted }};"))
    with (etc / "zenwebserver.conf").open("a") as conf:
        conf.write("motto Slow and steady\n")
    shared.ok("configure")
    shared.ok("reload")
    assert shared.get("/who").headers["X-Motto"] == "Slow and steady"


def test_custom_includes_in_the_http_and_the_server_block(shared: Site, etc: Path) -> None:
    (etc / "nginx-custom-http-map.conf").write_text('map $arg_tea $drink { "" coffee; default tea; }\n')
    (etc / "nginx-custom-server-drink.conf").write_text('location = /drink { return 200 "$drink"; }\n')
    nginx = shared.pid("nginx")
    shared.ok("reload")
    assert shared.get("/drink").text == "coffee"
    assert shared.get("/drink?tea=1").text == "tea"
    assert shared.get("/who").status == 200
    assert shared.pid("nginx") == nginx


def test_a_reload_of_what_nginx_rejects_leaves_everything_as_it_was(shared: Site, etc: Path) -> None:
    (etc / "nginx-custom-server-broken.conf").write_text("frobnicate on;\n")
    for command in (["reload"], ["restart", "nginx"]):
        nginx = shared.pid("nginx")
        ran = shared.run(*command)
        assert ran.code == 1
        assert 'unknown directive "frobnicate"' in ran.err
        assert shared.get("/who").status == 200
        assert shared.pid("nginx") == nginx


def test_another_cache_or_zone_is_taken_up_too_by_an_exchange_that_no_visitor_notices(shared: Site, etc: Path) -> None:
    include = etc / "nginx-custom-http-limit.conf"
    include.write_text("limit_req_zone $uri zone=mine:1m rate=1000r/s;\n")
    shared.ok("reload")
    former = shared.pid("nginx")
    with Load(shared.port, clients=4) as load:
        load.wait_for(20)
        include.write_text("limit_req_zone $host$uri zone=mine:1m rate=1000r/s;\n")
        ran = shared.ok("reload")
        assert "nginx was exchanged, as by `restart loadbalancer`" in ran.out
        assert shared.pid("nginx") != former
        with (etc / "zenwebserver.conf").open("a") as conf:
            conf.write(f"proxy_cache_path {shared.home}/var/nginx/another\n")
        shared.ok("configure")
        for command in ("detach 2", "attach 2"):
            shared.ok(*command.split())
        shared.ok("reload")
        load.wait_for(20)
    assert load.outcome.failures == []
    assert (shared.home / "var/nginx/another").is_dir()
    assert shared.ok("status").out == f"program running; pid={shared.pid('nginx')}\n"
