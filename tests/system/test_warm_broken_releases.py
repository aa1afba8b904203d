"""A broken release never takes the site down: visitors see nothing of it, the admin sees the site's own traceback."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from harness import Site, wait_until
from load import Load
from warm import (
    assert_all_stored_once,
    at_rest,
    configure,
    running_site,
    server_pids,
    status,
    version,
    versions,
    write_code,
    zygotes,
)

SITE, SERVERS = "warm", 3
SETTINGS = {"warmupPaths": "/ /page", "threads": 2}
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


@pytest.fixture
def mended(shared: Site) -> Iterator[Callable[[], None]]:
    """Puts the site back as it was; is done after the test in any case."""
    kept = shared.home / "kept"
    shutil.copytree(shared.home / "etc", kept, dirs_exist_ok=True)

    def mend() -> None:
        for name in ("site.zcml", "zope.conf", "zope.ini", "zenwebserver.conf"):
            shutil.copy(kept / name, shared.home / "etc" / name)
        write_code(shared, "mended")

    yield mend
    mend()


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_a_broken_release_is_refused_and_the_former_goes_on(
    shared: Site, mended: Callable[[], None], broken: Broken
) -> None:
    pids, former, shown = server_pids(shared), versions(shared), shared.ok("status", "-v").out
    (zygote,) = zygotes(shared).values()
    with Load(shared.port, clients=3, pause=0.01) as load:
        load.wait_for(10)
        broken.make(shared)
        failed = shared.run("restart", "servers")
        load.wait_for(10)
        assert failed.code == 1, failed
        assert broken.message in failed.err, failed
        assert "goes on serving" in failed.err or "go on serving" in failed.err
        assert all(words in failed.err for words in broken.detail), failed
        assert "[FAIL]" in failed.out
        at_rest(shared)
        assert server_pids(shared) == pids
        assert versions(shared) == former
        assert shared.ok("status", "-v").out == shown
        assert list(zygotes(shared).values()) == [zygote]

        mended()
        shared.ok("restart", "servers")
        load.wait_for(10)
        assert versions(shared) == dict.fromkeys(pids, "mended")
        assert set(server_pids(shared).values()).isdisjoint(pids.values())
    assert load.outcome.failures == []
    assert_all_stored_once(shared, load.outcome.stored)


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
    shared: Site, mended: Callable[[], None], extra: str, reason: str
) -> None:
    pids = server_pids(shared)
    with Load(shared.port, clients=3, pause=0.01) as load:
        write_code(shared, "not to be forked", extra=extra)
        shared.ok("restart", "servers")
        load.wait_for(10)
        assert versions(shared) == dict.fromkeys(pids, "not to be forked")
        wait_until(lambda: not zygotes(shared), "the former zygote has ended")
        shown = shared.ok("status", "-v").out
        assert shown.count(f"* Started the ordinary way: {reason}") == 3
        assert f"servers start the ordinary way: {reason}" in shared.log()
        assert not any(each["warm"] for each in status(shared)["servers"])

        mended()
        shared.ok("restart", "servers")
        load.wait_for(10)
        assert len(zygotes(at_rest(shared))) == 1
        assert "the ordinary way" not in shared.ok("status", "-v").out
    assert load.outcome.failures == []
    assert_all_stored_once(shared, load.outcome.stored)


def test_a_release_that_fails_at_start_is_shown_with_its_traceback_and_starts_when_mended() -> None:
    with running_site(1) as site:
        site.ok("stop")
        write_code(site, extra="import zwsgone")
        failed = site.run("start")
        assert failed.code == 1
        assert "No module named 'zwsgone'" in failed.err
        assert "goes on serving" not in failed.err
        wait_until(lambda: not site.processes(), "nothing is left")
        write_code(site, "2")
        site.ok("start")
        assert version(site, 1) == "2"
