"""A site whose code can be changed, broken and mended while it runs: what the tests of warm servers share."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from harness import SITES, Living, Site, wait_until
from seen import stored


def write_code(site: Site, version: str = "1", *, fault: str = "", extra: str = "") -> None:
    """The module by which a release is known; `fault` breaks a part of it, `extra` is what it does at import."""
    (site.home / "lib" / "zwsversion.py").write_text(f"VERSION = {version!r}\nFAULT = {fault!r}\n{extra}\n")


def prepare(site: Site) -> Site:
    """Put the code of sites/store and sites/warm into an initialised home, and their views into the site."""
    parts = ""
    lib = site.home / "lib"
    lib.mkdir()
    for name in ("store", "warm"):
        for module in (SITES / name).glob("*.py"):
            shutil.copy(module, lib)
        parts += (SITES / name / "site.zcml.part").read_text()
    zcml = site.home / "etc" / "site.zcml"
    zcml.write_text(zcml.read_text().replace("</configure>", f"{parts}</configure>"))
    write_code(site)
    # No bytecode: two versions of one size within one second would be taken for the same.
    site.environment |= {"PYTHONPATH": str(lib), "PYTHONDONTWRITEBYTECODE": "1"}
    return site


@contextmanager
def stored_site(views: str, **settings: object) -> Iterator[Site]:
    """A running site with the views of sites/VIEWS; ended afterwards."""
    site = Site(**settings)
    try:
        site.init().use(views).ok("start")
        yield site
    finally:
        site.end()


@contextmanager
def running_site(servers: int = 2, **settings: object) -> Iterator[Site]:
    """A running site with `servers` warm servers; ended afterwards."""
    site = Site(**settings)
    try:
        prepare(site.init()).ok("deploy", servers)
        site.ok("start", "nginx")
        yield site
    finally:
        site.end()


def configure(site: Site, **settings: object) -> None:
    """Change settings; they hold from the next operation on."""
    path = site.home / "etc" / "zenwebserver.conf"
    text = path.read_text()
    for key, value in settings.items():
        text = re.sub(rf"(?m)^{key} .*\n", "", text) + f"{key} {value}\n"
    path.write_text(text)


# What an admin and a visitor see.


def status(site: Site) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(site.run("status", "--json").out)
    return answer


def server(site: Site, number: int) -> dict[str, Any]:
    return next(each for each in status(site)["servers"] if each["number"] == number)


def server_pids(site: Site) -> dict[int, int]:
    return {each["number"]: each["pid"] for each in status(site)["servers"]}


def version(site: Site, number: int) -> str:
    """Which version of the code server `number` runs."""
    return site.get("/version", port=site.server_port(number)).text


def versions(site: Site) -> dict[int, str]:
    return {number: version(site, number) for number, pid in server_pids(site).items() if pid}


def process(site: Site, number: int) -> dict[str, Any]:
    """What the process of server `number` says of itself."""
    answer: dict[str, Any] = json.loads(site.get("/process", port=site.server_port(number)).text)
    return answer


def all_up(site: Site) -> bool:
    return all(each["pid"] and each["listening"] and not each["leaving"] for each in status(site)["servers"])


def is_back(site: Site, number: int, killed: int) -> bool:
    found = server(site, number)
    return found["state"] == "running" and found["pid"] not in (None, killed)


def zygotes(site: Site) -> dict[str, Living]:
    """Living zygotes by release."""
    found = {}
    for each in site.processes():
        if each.name() == "zygote" and (named := re.search(r'"zygote": "(\d+)"', each.command)):
            found[named[1]] = each
    return found


def at_rest(site: Site) -> Site:
    """Wait until all that is asked for runs, and nothing else: former servers and their releases have gone."""
    wait_until(lambda: all_up(site), "all servers are up, their predecessors gone")
    wait_until(lambda: len(zygotes(site)) <= len(status(site)["releases"]), "their releases have ended")
    return site


def assert_all_stored_once(site: Site, *ids: Iterable[str]) -> None:
    """Every id whose POST was answered well is there, and none twice."""
    counts = stored(site)
    assert {ident for each in ids for ident in each} <= set(counts)
    assert set(counts.values()) <= {1}


def at_once(*works: Any) -> None:
    """Call all, each in a thread of its own, and wait for them."""
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
