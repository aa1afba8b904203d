"""A real Plone site served warm: what its visitors, its editors and its admin see."""

from __future__ import annotations

import re

import psutil
from browser import Browser
from harness import Site
from load import Load
from seen import stored


def url(site: Site, server: int = 0) -> str:
    """The site through the load balancer, or at a server's own port."""
    return f"http://127.0.0.1:{site.server_port(server) if server else site.port}/Plone"


def is_forked(site: Site, server: int) -> bool:
    """A fork has the command line of the zygote that it comes from."""
    return '"zygote"' in psutil.Process(site.pid(f"zope{server}")).cmdline()[-1]


def test_plone_is_safe_to_fork_and_every_server_is_forked(plone: Site) -> None:
    assert all(is_forked(plone, server) for server in (1, 2)), plone.log()
    assert "ordinary way" not in plone.log()


def test_no_request_fails_while_the_pool_restarts(plone: Site) -> None:
    former = {plone.pid("zope1"), plone.pid("zope2")}
    with Load(plone.port, clients=8, pages=("/Plone", "/ok")) as load:
        load.wait_for(50)
        plone.ok("restart")
        load.wait_for(50)
        plone.ok("restart", "server2")
        load.wait_for(50)
    assert load.outcome.failures == []
    assert stored(plone) == dict.fromkeys(load.outcome.stored, 1)
    assert former.isdisjoint({plone.pid("zope1"), plone.pid("zope2")})
    assert all(is_forked(plone, server) for server in (1, 2))


def test_a_page_made_through_one_server_is_read_from_the_other_and_after_a_restart(plone: Site) -> None:
    editor = Browser()
    editor.log_in(url(plone), plone.user, plone.password)
    assert "/logout" in editor.open(url(plone))

    editor.submit(
        url(plone, server=1) + "/++add++Document",
        {
            "form.widgets.IDublinCore.title": "Made through one server",
            "form.widgets.IRichTextBehavior.text": "<p>Lorem ipsum dolor sit amet.</p>",
            "form.widgets.IRichTextBehavior.text.mimeType": "text/html",
            "form.buttons.save": "Save",
        },
    )
    assert editor.url == url(plone, server=1) + "/made-through-one-server/view"
    for server in (2, 1, 0):
        assert "Lorem ipsum dolor" in editor.open(url(plone, server) + "/made-through-one-server")
    plone.ok("restart")
    for server in (2, 1, 0):
        assert "Lorem ipsum dolor" in editor.open(url(plone, server) + "/made-through-one-server")


def own_links(page: str) -> list[str]:
    return re.findall(r'(?:href|src|action)="(http://[^"]+/(?:Plone|@@search|favicon.ico|login|sitemap)[^"]*)"', page)


def test_every_link_has_the_address_that_the_visitor_used(plone: Site) -> None:
    for host in (f"127.0.0.1:{plone.port}", f"www.example.org:{plone.port}"):
        links = own_links(plone.get("/Plone", headers={"Host": host}).text)
        assert len(links) > 5
        assert [link for link in links if not link.startswith(f"http://{host}/Plone")] == []


def test_the_site_can_be_the_root_that_visitors_see(plone: Site) -> None:
    conf = plone.home / "etc" / "zenwebserver.conf"
    conf.write_text(conf.read_text().replace("warmupPaths /Plone", "warmupPaths /") + "\nsiteRoot /Plone\n")
    plone.ok("configure")
    plone.ok("restart")
    front = plone.get("/")
    assert front.status == 200
    links = own_links(front.text)
    assert len(links) > 3
    assert [link for link in links if not link.startswith(f"http://127.0.0.1:{plone.port}/") or "/Plone" in link] == []
