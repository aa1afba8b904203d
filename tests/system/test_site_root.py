"""Visitors see one object of the site as its root."""

from __future__ import annotations

from harness import Site


def test_the_object_that_siteRoot_names_is_the_root_for_visitors(site: Site) -> None:
    site.use("store").ok("start")
    assert site.post("/manage_addFolder", "id=portal", admin=True).status in (200, 302)
    assert site.post("/portal/manage_addFolder", "id=news", admin=True).status in (200, 302)
    conf = site.home / "etc" / "zenwebserver.conf"
    conf.write_text(conf.read_text() + "siteRoot /portal\n")
    site.ok("configure")
    site.ok("restart")
    assert site.get("/news/who").text.split()[2] == f"http://127.0.0.1:{site.port}/news"
    direct = site.server_port(1)
    assert site.get("/portal/news/who", port=direct).text.split()[2] == f"http://127.0.0.1:{direct}/portal/news"
