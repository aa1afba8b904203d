"""nginx asks for its servers: the pool changes without a reload, whatever its configuration says by now."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from changes import ask_for_no_servers, secure_site
from harness import WAIT_SECONDS, Site, wait_until
from load import Load
from running_nginx import system_nginx
from seen import stored
from slow import SlowPage

from zenwebserver.machine import datagrams
from zenwebserver.nginx import binary

SERVERS = 2
DEBIANS_PYTHON = "/usr/bin/python3"  # another user can run it
ANOTHER = 65534


def old_nginx() -> Path | None:
    """The system's, where it cannot ask for its servers."""
    found = system_nginx()
    return found if found and not asyncio.run(binary.ask(found)).asks_for_servers else None


OLD = old_nginx()


def nginx(site: Site) -> tuple[int, frozenset[int]]:
    """Its master and its workers; a reload makes new ones, and closes visitors' connections."""
    return site.pid("nginx"), frozenset(worker.pid for worker in site.workers_of_nginx())


def name_port(site: Site) -> int | None:
    found = re.search(r"resolver 127\.0\.0\.1:(\d+) ", (site.home / "etc" / "nginx-zope.conf").read_text())
    return int(found[1]) if found else None


def visited(site: Site) -> set[int]:
    return {int(site.get("/who").text.split()[0]) for _ in range(12)}


def test_no_change_of_the_pool_reloads_nginx_or_needs_a_configuration_that_is_right(shared: Site) -> None:
    before = nginx(shared)
    broken = shared.home / "etc" / "nginx-custom-http-broken.conf"
    broken.write_text("frobnicate on;\n")
    settings = shared.home / "etc" / "zenwebserver.conf"
    good = settings.read_text()
    settings.write_text(good + "nginx /usr/sbin/no-nginx\n")  # of an upgrade of the system that is half done
    try:
        with Load(shared.port, clients=6, pause=0.005) as load:
            load.wait_for(50)
            for command in ("detach 1", "attach 1", "deploy +1", "detach 3", "deploy 2", "restart servers", "stop 2"):
                shared.ok(*command.split())
            assert visited(shared) == {shared.pid("zope1")}
            shared.ok("start", "2")
            load.wait_for(50)
    finally:
        broken.unlink()
        settings.write_text(good)
    assert visited(shared) == {shared.pid("zope1"), shared.pid("zope2")}
    assert load.outcome.failures == []
    assert nginx(shared) == before
    assert stored(shared) == dict.fromkeys(load.outcome.stored, 1)


def test_an_nginx_conf_that_was_emptied_or_removed_stops_no_change_of_the_pool(shared: Site) -> None:
    before = nginx(shared)
    nginx_conf = shared.home / "etc" / "nginx.conf"
    kept = nginx_conf.read_text()
    try:
        nginx_conf.write_text("")
        shared.ok("detach", "1")
        assert visited(shared) == {shared.pid("zope2")}
        shared.ok("attach", "1")
        nginx_conf.unlink()
        shared.ok("detach", "2")
        assert visited(shared) == {shared.pid("zope1")}
        shared.ok("attach", "2")
        assert visited(shared) == {shared.pid("zope1"), shared.pid("zope2")}
    finally:
        nginx_conf.write_text(kept)
    assert nginx(shared) == before


def test_detached_is_said_when_what_nginx_had_sent_is_answered(shared: Site) -> None:
    before = nginx(shared)
    shared.ok("detach", "2")
    page = SlowPage(shared, 60)
    try:
        shared.ok("attach", "2")
        detach = shared.popen("detach", "1", stdout=subprocess.PIPE)
        wait_until(lambda: visited(shared) == {shared.pid("zope2")}, "nginx sends it nothing any more")
        assert detach.poll() is None
        page.let_go()
        out, _ = detach.communicate(timeout=WAIT_SECONDS)
    finally:
        page.end()
    assert "Detached\n" in out
    assert page.answer().status == 200
    shared.ok("attach", "1")
    assert nginx(shared) == before


def test_the_next_supervisor_answers_nginx_and_its_first_change_reloads_nothing(shared: Site) -> None:
    before = nginx(shared)
    with Load(shared.port, clients=4, pause=0.01) as load:
        load.wait_for(20)
        shared.kill("supervisor")
        load.wait_for(20)
        shared.ok("detach", "1")
        assert visited(shared) == {shared.pid("zope2")}
        shared.ok("upgrade")
        shared.ok("attach", "1")
        load.wait_for(20)
    assert visited(shared) == {shared.pid("zope1"), shared.pid("zope2")}
    assert load.outcome.failures == []
    assert nginx(shared) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_nobody_else_can_answer_nginx_while_the_supervisor_is_dead_whatever_became_of_nginx(shared: Site) -> None:
    shared.ok("restart", "loadbalancer")
    shared.ok("reload")
    port = name_port(shared)
    assert port
    shared.kill("supervisor")
    code = f"import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).bind(('127.0.0.1', {port}))"
    taken = subprocess.run(
        [DEBIANS_PYTHON, "-c", code], user=ANOTHER, group=ANOTHER, capture_output=True, text=True, cwd="/"
    )
    assert "Address already in use" in taken.stderr
    assert datagrams.held(shared.pid("nginx")) == port
    shared.ok("attach", "1")
    assert name_port(shared) == port


def test_nginx_is_exchanged_and_reloaded_under_posts_and_none_fails(shared: Site) -> None:
    with Load(shared.port, clients=12) as load:
        for command in ("restart loadbalancer", "reload", "restart loadbalancer"):
            load.wait_for(50)
            shared.ok(*command.split())
            shared.ok("detach", "1")
            assert visited(shared) == {shared.pid("zope2")}, "neither do those that nginx started with get anything"
            shared.ok("attach", "1")
        load.wait_for(50)
    assert load.outcome.failures == []
    assert load.outcome.stored <= set(stored(shared))


def test_an_nginx_that_keeps_the_port_from_nobody_is_reloaded_until_it_is_started_anew(shared: Site) -> None:
    """One that was started by hand, or by a version before."""
    shared.ok("stop", "nginx")
    shared.kill("supervisor")
    arguments = ["-p", f"{shared.home}/", "-c", str(shared.home / "etc" / "nginx.conf")]
    subprocess.run([binary.embedded(), *arguments], cwd=shared.home, check=True)
    both = {shared.pid("zope1"), shared.pid("zope2")}
    assert visited(shared) == both, "nobody answers it yet: it sends to those who were there when it was written"
    with Load(shared.port, clients=4, pause=0.01) as load:
        load.wait_for(20)
        before = nginx(shared)
        shared.ok("detach", "1")
        assert name_port(shared) is None
        assert visited(shared) == {shared.pid("zope2")}
        assert nginx(shared)[0] == before[0]
        assert nginx(shared)[1].isdisjoint(before[1])
        load.wait_for(20)
    assert load.outcome.failures == []
    shared.ok("stop", "nginx")
    shared.ok("start", "nginx")
    assert name_port(shared)
    before = nginx(shared)
    shared.ok("attach", "1")
    assert visited(shared) == both
    assert nginx(shared) == before


def test_a_site_of_a_version_before_asks_from_its_next_configure_and_reload_on(site: Site) -> None:
    """Its nginx.conf could not bridge the first moment."""
    template = site.home / "etc" / "nginx.conf.template"
    shipped = template.read_text()
    ask_for_no_servers(site)
    site.use("store").ok("start")
    with Load(site.port, clients=6) as load:
        load.wait_for(20)
        site.ok("detach", "1")
        site.ok("attach", "1")
        assert name_port(site) is None
        template.write_text(shipped)
        site.ok("configure")
        site.ok("reload")
        load.wait_for(20)
        before = nginx(site)
        site.ok("detach", "1")
        assert visited(site) == {site.pid("zope2")}
        site.ok("attach", "1")
        load.wait_for(20)
        assert nginx(site) == before
    assert load.outcome.failures == []


@pytest.mark.skipif(OLD is None, reason="no nginx of before 1.27.3 is installed")
def test_an_older_nginx_is_reloaded_and_with_tls_not_twice_within_five_seconds() -> None:
    with secure_site(nginx=OLD) as site:
        assert name_port(site) is None
        before = nginx(site)
        begun = time.monotonic()
        for command in ("detach 1", "attach 1", "detach 2"):
            site.ok(*command.split())
        assert time.monotonic() - begun >= 10, "two pauses between three reloads"
        assert nginx(site)[0] == before[0]
        assert nginx(site)[1].isdisjoint(before[1])
