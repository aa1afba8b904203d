"""What warm means: forked from a zygote that holds most of the memory, warmed before a visitor comes, one of a kind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from harness import Site
from warm import configure, process, running_site, server_pids, zygotes

THREADS = 3


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with running_site(2, warmupPaths="/page", threads=THREADS) as site:
        yield site


def private_bytes(pid: int) -> int:
    return int(psutil.Process(pid).memory_full_info().uss)


def test_servers_are_forked_from_the_zygote_and_share_its_memory(site: Site) -> None:
    (zygote,) = zygotes(site).values()
    assert zygote.num_threads() == 1
    # Forked twice, a server is the child of the supervisor, not of the zygote.
    assert {process(site, number)["parent"] for number in (1, 2)} == {site.pid("supervisor")}
    warm = [private_bytes(pid) for pid in server_pids(site).values()]
    assert all(process(site, number)["frozen"] > 10_000 for number in (1, 2))
    configure(site, preload="off")
    site.ok("restart", "servers")
    ordinary = [private_bytes(pid) for pid in server_pids(site).values()]
    configure(site, preload="auto")
    site.ok("restart", "servers")
    assert max(warm) < 0.6 * min(ordinary), (warm, ordinary)


def test_the_pages_were_made_once_a_thread_before_the_first_visitor(site: Site) -> None:
    site.ok("restart", "servers")
    for number in (1, 2):
        asked = process(site, number)["warmed"]
        assert len(asked) == THREADS + 1, "once alone, then once a thread"
        assert {url for _, _, url in asked} == {f"http://127.0.0.1:{site.port}"}, "through the virtual host"


def test_each_server_has_its_own_client_home_pid_file_and_log(site: Site) -> None:
    for number, pid in server_pids(site).items():
        assert process(site, number)["clienthome"] == str(site.home / "var" / f"zope{number}")
        assert process(site, number)["pid"] == pid == site.pid(f"zope{number}")
        assert (site.home / "log" / f"zope{number}.log").stat().st_size
        assert Path(f"/proc/{pid}/comm").read_text().strip() == f"zope{number}"


def test_the_storage_knows_each_server_by_its_name(site: Site) -> None:
    site.ok("restart", "servers")
    seen = re.findall(r"\((zope\d) .*disconnected", site.log("storage"))
    assert set(seen) == {"zope1", "zope2"}


def test_the_sites_own_pipeline_is_honoured(site: Site) -> None:
    path = site.home / "etc" / "zope.ini"
    text = path.read_text()
    assert "X-Marked" not in site.get("/who").headers
    path.write_text(
        text.replace("egg:Zope#httpexceptions\n", "egg:Zope#httpexceptions\n    mark\n")
        + "\n[filter:mark]\npaste.filter_factory = zwswarm:mark_filter\n"
    )
    site.ok("restart", "servers")
    for number in (1, 2):
        assert site.get("/who", port=site.server_port(number)).headers["X-Marked"] == "by the site's own filter"
    assert site.get("/who").headers["X-Marked"] == "by the site's own filter"
    path.write_text(text)
