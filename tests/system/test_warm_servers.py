"""What warm means: forked from a zygote that holds most of the memory, warmed before a visitor comes, one of a kind."""

from __future__ import annotations

import re
from pathlib import Path

import psutil
from harness import Site, wait_until
from warm import at_rest, configure, process, server_pids, zygotes

THREADS = 3
SITE = "warm"
SETTINGS = {"threads": THREADS, "warmupPaths": "/page"}


def private_bytes(pid: int) -> int:
    return int(psutil.Process(pid).memory_full_info().uss)


def test_servers_are_forked_from_the_zygote_and_share_its_memory(shared: Site) -> None:
    (zygote,) = zygotes(at_rest(shared)).values()
    assert zygote.num_threads() == 1
    # Forked twice, a server is the child of the supervisor, not of the zygote.
    assert {process(shared, number)["parent"] for number in (1, 2)} == {shared.pid("supervisor")}
    warm = [private_bytes(pid) for pid in server_pids(shared).values()]
    assert all(process(shared, number)["frozen"] > 10_000 for number in (1, 2))
    configure(shared, preload="off")
    shared.ok("restart", "servers")
    ordinary = [private_bytes(pid) for pid in server_pids(shared).values()]
    configure(shared, preload="auto")
    shared.ok("restart", "servers")
    assert max(warm) < 0.6 * min(ordinary), (warm, ordinary)


def test_the_pages_were_made_once_a_thread_before_the_first_visitor(shared: Site) -> None:
    shared.ok("restart", "servers")
    for number in (1, 2):
        asked = process(shared, number)["warmed"]
        assert len(asked) == THREADS + 1, "once alone, then once a thread"
        assert {url for _, _, url in asked} == {f"http://127.0.0.1:{shared.port}"}, "through the virtual host"


def test_each_server_has_its_own_client_home_pid_file_and_log(shared: Site) -> None:
    for number, pid in server_pids(shared).items():
        assert process(shared, number)["clienthome"] == str(shared.home / "var" / f"zope{number}")
        assert process(shared, number)["pid"] == pid == shared.pid(f"zope{number}")
        assert (shared.home / "log" / f"zope{number}.log").stat().st_size
        assert Path(f"/proc/{pid}/comm").read_text().strip() == f"zope{number}"


def test_the_storage_knows_each_server_by_its_name(shared: Site) -> None:
    shared.ok("restart", "servers")

    def seen() -> set[str]:
        return set(re.findall(r"\((zope\d) .*disconnected", shared.log("storage")))

    wait_until(lambda: seen() == {"zope1", "zope2"}, "it has seen the former ones go")


def test_the_sites_own_pipeline_is_honoured(shared: Site) -> None:
    path = shared.home / "etc" / "zope.ini"
    text = path.read_text()
    assert "X-Marked" not in shared.get("/who").headers
    path.write_text(
        text.replace("egg:Zope#httpexceptions\n", "egg:Zope#httpexceptions\n    mark\n")
        + "\n[filter:mark]\npaste.filter_factory = zwswarm:mark_filter\n"
    )
    shared.ok("restart", "servers")
    for number in (1, 2):
        assert shared.get("/who", port=shared.server_port(number)).headers["X-Marked"] == "by the site's own filter"
    assert shared.get("/who").headers["X-Marked"] == "by the site's own filter"
    path.write_text(text)
