"""Changes of a pool while browsers look on."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager

from chromium import serve_page
from harness import Site
from made_certificates import put

CHANGES = ("detach 1", "attach 1", "deploy +1", "detach 2", "attach 2", "deploy -1", "restart servers")
HOSTS = ("localhost", "*.localhost")


@contextmanager
def secure_site(*, by_reloads: bool = False, **settings: object) -> Iterator[Site]:
    """A running site with TLS and two servers; `by_reloads`: its nginx asks for no servers, as older ones."""
    site = Site(useSSL=True, **settings)
    site.settings["sslPort"] = site.spare_port()
    try:
        site.init().use("store")
        put(site.home / "etc" / "ssl", HOSTS)
        if by_reloads:
            ask_for_no_servers(site)
        serve_page(site)
        site.ok("start")
        yield site
    finally:
        site.end()


def ask_for_no_servers(site: Site) -> None:
    """An admin's template of before nginx could ask; it must be there before the site starts."""
    template = site.home / "etc" / "nginx.conf.template"
    text = template.read_text()
    assert "capabilities.asks_for_servers" in text
    template.write_text(text.replace("capabilities.asks_for_servers", "False"))


def change(site: Site, number: int) -> list[float]:
    """The pool, `number` times, each in another way. Returns the seconds that each command took."""
    took = []
    for command in itertools.islice(itertools.cycle(CHANGES), number):
        began = time.monotonic()
        site.ok(*command.split())
        took.append(time.monotonic() - began)
    return took
