"""A broken release never takes the site down: visitors see nothing of it, the admin sees the site's own traceback."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness import Site
from load import Load
from warm import (
    assert_all_stored_once,
    configure,
    running_site,
    server_pids,
    status,
    version,
    versions,
    write_code,
    zygotes,
)

Break = Callable[[Site], None]


def code(fault: str = "", extra: str = "") -> Break:
    return lambda site: write_code(site, "broken", fault=fault, extra=extra)


def in_file(name: str, former: str, broken: str) -> Break:
    def change(site: Site) -> None:
        path = site.home / "etc" / name
        text = path.read_text()
        assert former in text
        path.write_text(text.replace(former, broken))

    return change


def hangs(site: Site) -> None:
    configure(site, startTimeout=5)
    write_code(site, "broken", extra="import time\n\n\ndef wait_for_ever():\n    time.sleep(600)\n\n\nwait_for_ever()")


def storage_of_its_own_away(site: Site) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    path = site.home / "etc" / "zope.conf"
    head, _, _ = path.read_text().partition("<zodb_db main>")
    client = f"  <clientstorage>\n    server 127.0.0.1:{port}\n    wait-timeout 2\n  </clientstorage>\n"
    path.write_text(f"%import ZEO\n{head}<zodb_db main>\n  mount-point /\n{client}</zodb_db>\n")


@dataclass(frozen=True)
class Broken:
    """How a site is broken, and what the command says of it."""

    name: str
    make: Break
    message: str
    detail: tuple[str, ...]


BROKEN = [
    Broken("syntax error", code(extra="def broken(:"), "could not be loaded", ("def broken(:", "SyntaxError")),
    Broken("missing module", code(extra="import zwsgone"), "could not be loaded", ("No module named 'zwsgone'",)),
    Broken(
        "bad ZCML",
        in_file("site.zcml", "zwswarm.Version", "zwswarm.NoSuchView"),
        "could not be loaded",
        ("site.zcml", "NoSuchView"),
    ),
    Broken(
        "bad zope.conf",
        in_file("zope.conf", "trusted-proxy", "no-such-key"),
        "could not be loaded",
        ("no-such-key", "is not a known key name"),
    ),
    Broken("start-up hangs", hangs, "not ready after 5 s", ("in wait_for_ever",)),
    Broken("database away", storage_of_its_own_away, "Server 1 did not come back", ("ClientDisconnected", "Traceback")),
    Broken(
        "warm-up page answers 500",
        code(fault="page"),
        "Server 1 did not come back",
        ("The warm-up of /page", "the page of zope1 is broken"),
    ),
    Broken("dies after its first request", code(fault="dies"), "after its first request", ()),
    Broken(
        "only the second server fails",
        code(fault="page zope2"),
        "Server 2 did not come back",
        ("The warm-up of /page", "the page of zope2 is broken"),
    ),
]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with running_site(3, warmupPaths="/ /page", threads=2) as site:
        yield site


@pytest.fixture
def mended(site: Site) -> Iterator[Callable[[], None]]:
    """Puts the site back as it was; is done after the test in any case."""
    kept = site.home / "kept"
    shutil.copytree(site.home / "etc", kept, dirs_exist_ok=True)

    def mend() -> None:
        for name in ("site.zcml", "zope.conf", "zope.ini", "zenwebserver.conf"):
            shutil.copy(kept / name, site.home / "etc" / name)
        write_code(site, "mended")

    yield mend
    mend()


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_a_broken_release_is_refused_and_the_former_goes_on(
    site: Site, mended: Callable[[], None], broken: Broken
) -> None:
    pids, former, shown = server_pids(site), versions(site), site.ok("status", "-v").out
    (zygote,) = zygotes(site).values()
    with Load(site.port, clients=3, pause=0.01) as load:
        load.wait_for(10)
        broken.make(site)
        failed = site.run("restart", "servers")
        load.wait_for(10)
        assert failed.code == 1, failed
        assert broken.message in failed.err, failed
        assert "goes on serving" in failed.err or "go on serving" in failed.err
        assert all(words in failed.err for words in broken.detail), failed
        assert "[FAIL]" in failed.out
        assert server_pids(site) == pids
        assert versions(site) == former
        assert site.ok("status", "-v").out == shown
        assert list(zygotes(site).values()) == [zygote]

        mended()
        site.ok("restart", "servers")
        load.wait_for(10)
        assert versions(site) == dict.fromkeys(pids, "mended")
        assert set(server_pids(site).values()).isdisjoint(pids.values())
    assert load.outcome.failures == []
    assert_all_stored_once(site, load.outcome.stored)


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        pytest.param(
            "import threading\nthreading.Thread(target=threading.Event().wait, name='zws-poller', daemon=True).start()",
            "loading the site started a thread: zws-poller",
            id="starts a thread",
        ),
        pytest.param(
            "import socket\nOPEN = socket.socket()\nOPEN.bind(('127.0.0.1', 0))\nOPEN.listen()",
            "loading the site left a connection open: tcp at 127.0.0.1:",
            id="opens a socket",
        ),
    ],
)
def test_a_site_that_cannot_be_forked_starts_the_ordinary_way_and_says_why(
    site: Site, mended: Callable[[], None], extra: str, reason: str
) -> None:
    pids = server_pids(site)
    with Load(site.port, clients=3, pause=0.01) as load:
        write_code(site, "not to be forked", extra=extra)
        site.ok("restart", "servers")
        load.wait_for(10)
        assert versions(site) == dict.fromkeys(pids, "not to be forked")
        assert not zygotes(site)
        shown = site.ok("status", "-v").out
        assert shown.count(f"* Started the ordinary way: {reason}") == 3
        assert f"servers start the ordinary way: {reason}" in site.log()
        assert not any(each["warm"] for each in status(site)["servers"])

        mended()
        site.ok("restart", "servers")
        load.wait_for(10)
        assert len(zygotes(site)) == 1
        assert "the ordinary way" not in site.ok("status", "-v").out
    assert load.outcome.failures == []
    assert_all_stored_once(site, load.outcome.stored)


def test_a_release_that_fails_at_start_is_shown_with_its_traceback_and_starts_when_mended() -> None:
    with running_site(1) as site:
        site.ok("stop")
        write_code(site, extra="import zwsgone")
        failed = site.run("start")
        assert failed.code == 1
        assert "No module named 'zwsgone'" in failed.err
        assert "goes on serving" not in failed.err
        site_left = [Path(word).name for each in site.processes() for word in each.cmdline()[:1]]
        assert site_left in ([], ["python"]), "nothing but, for a moment, the supervisor"
        write_code(site, "2")
        site.ok("start")
        assert version(site, 1) == "2"
