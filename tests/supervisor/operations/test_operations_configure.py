"""configure, verify and reload: nginx's configuration from the settings and the template."""

from __future__ import annotations

from fake_site import FakeSite


async def test_configure_writes_what_the_template_says_now_and_reload_puts_it_into_effect(site: FakeSite) -> None:
    await site.started(1)
    assert (await site.ok("configure")).done == "Nothing changed"
    site.home.nginx_template.write_text("# changed\n")
    asked = await site.ok("reload")
    assert asked.notes == ["etc/nginx.conf is older than the settings or template; to renew it: zenwebserver configure"]
    assert (await site.ok("configure")).done == "To put it into effect: zenwebserver reload (or restart)"
    assert "# changed" in site.home.nginx_conf.read_text()
    reloads = site.balancer.reloads
    assert (await site.ok("reload")).done == "Reloaded"
    assert site.balancer.reloads == reloads + 1
    await site.ok("stop")
    site.home.nginx_template.write_text("# changed again\n")
    asked = await site.ok("configure")
    assert asked.done == "The load balancer is not running; its next start, restart or reload uses it"
    await site.end()


async def test_what_nginx_rejects_replaces_nothing_and_is_not_loaded(site: FakeSite) -> None:
    await site.started(1)
    before, reloads = site.home.nginx_conf.read_text(), site.balancer.reloads
    site.balancer.rejects = "nginx: [emerg] unknown directive"
    site.home.nginx_template.write_text("# changed\n")
    for name, step in (("configure", "Writing nginx.conf"), ("reload", "Verifying nginx configuration")):
        asked = await site.do(name)
        assert asked.error == "nginx rejects the configuration"
        assert asked.last["detail"] == "nginx: [emerg] unknown directive"
        assert asked.steps[step] is False
    assert site.home.nginx_conf.read_text() == before
    assert site.balancer.reloads == reloads
    site.balancer.rejects = ""
    await site.end()


async def test_reload_needs_a_load_balancer_that_runs(site: FakeSite) -> None:
    asked = await site.do("reload")
    assert asked.error == "The load balancer is not running"
    assert asked.last["hint"] == "To start it: zenwebserver start"
    await site.end()


async def test_settings_that_cannot_be_read_change_nothing(site: FakeSite) -> None:
    await site.started(1)
    former, pids = site.supervisor.settings, site.pids()
    site.home.settings_file.write_text("httpPort many\n")
    for name in ("configure", "verify", "reload", "start", "restart"):
        asked = await site.do(name)
        assert "httpPort" in asked.error
        assert asked.exit == 1
    assert site.supervisor.settings is former
    assert site.pids() == pids
    site.set()
    await site.end()


async def test_verify_needs_a_home_and_makes_none(site: FakeSite) -> None:
    site.home.settings_file.unlink()
    before = sorted(site.home.path.rglob("*"))
    asked = await site.do("verify")
    assert asked.error == f"There is no home at {site.home.path}"
    assert sorted(site.home.path.rglob("*")) == before
    site.set()
    await site.end()


async def test_verify_changes_nothing_and_reads_what_the_site_says(site: FakeSite) -> None:
    site.home.zope_conf.write_text("<zodb_db\n")
    before = {path: path.read_bytes() for path in site.home.etc.rglob("*") if path.is_file()}
    asked = await site.do("verify")
    assert str(site.home.zope_conf) in asked.error
    assert asked.steps == {
        "Verifying settings": True,
        "Verifying nginx configuration": True,
        "Verifying zope.conf": False,
    }
    assert {path: path.read_bytes() for path in site.home.etc.rglob("*") if path.is_file()} == before


async def test_a_reload_that_exchanges_nginx_says_so_and_changes_of_the_pool_are_not_kept_from_it(
    site: FakeSite,
) -> None:
    await site.started(2)
    site.balancer.needs_exchange = True
    asked = await site.ok("reload")
    assert asked.done == "Reloaded"
    assert any("nginx was exchanged, as by `restart loadbalancer`" in note for note in asked.notes)
    for name, what in (("detach", {"targets": ["2"]}), ("attach", {"targets": ["2"]}), ("deploy", {"size": "3"})):
        await site.ok(name, **what)
    assert site.nginx_knows(3)
    assert site.balancer.upgrades == 4
    await site.end()
