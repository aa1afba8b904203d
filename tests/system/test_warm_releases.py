"""A restart loads the code as it is now; two releases can live side by side, each with its own zygote."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil
from harness import Site, wait_until
from load import Load
from losses import ANSWER_CUT, IN_THE_SERVER, UNAVAILABLE, beyond
from warm import (
    assert_all_stored_once,
    at_rest,
    configure,
    is_back,
    process,
    server_pids,
    status,
    version,
    versions,
    write_code,
    zygotes,
)

SITE = "warm"


def release_of(site: Site, number: int) -> str:
    return next(str(each["release"]) for each in status(site)["servers"] if each["number"] == number)


def test_a_new_version_is_tried_on_a_detached_server_beside_the_old_one(shared: Site) -> None:
    with Load(shared.port, clients=4, pause=0.01) as load:
        shared.ok("detach", "2")
        write_code(shared, "2")
        shared.ok("restart", "2")
        assert versions(shared) == {1: "1", 2: "2"}
        old, new = release_of(shared, 1), release_of(shared, 2)
        at_rest(shared)
        assert sorted(zygotes(shared)) == sorted([old, new])
        assert {each["name"]: each["zygote"] for each in status(shared)["releases"]} == {
            name: zygote.pid for name, zygote in zygotes(shared).items()
        }
        shown = shared.ok("status", "-v").out
        assert f"* Release {old}\n" in shown
        assert f"* Release {new}\n" in shown

        # A killed server comes back from its own release, though the code has changed since.
        write_code(shared, "not yet loaded")
        assert load.outcome.failures == []
        for number, its_version in ((1, "1"), (2, "2")):
            killed = shared.kill(f"zope{number}")
            wait_until(lambda number=number, killed=killed: is_back(shared, number, killed), "it is back")
            assert version(shared, number) == its_version
        back = time.time()

        # A new server takes the newest release that has come up.
        shared.ok("deploy", "+1")
        assert versions(shared) == {1: "1", 2: "2", 3: "2"}

        # With its last server an old release ends.
        write_code(shared, "3")
        shared.ok("restart", "1")
        assert versions(shared) == {1: "3", 2: "2", 3: "2"}
        wait_until(lambda: old not in zygotes(shared), "the old release's zygote has ended")
        wait_until(lambda: not (shared.home / "etc" / "zope" / f"release{old}.conf").exists(), "nothing of it is left")
        shared.ok("attach", "2")
        shared.ok("deploy", "2")
        shared.ok("restart", "servers")
        assert versions(shared) == {1: "3", 2: "3"}
        wait_until(lambda: len(zygotes(shared)) == 1, "one release is left")
        assert "Release" not in shared.ok("status", "-v").out
        load.wait_for(20)
    # Alone in the pool, server 1 has nobody in its place until it is back.
    assert beyond([UNAVAILABLE, ANSWER_CUT], load.outcome.failures, back) == []
    assert_all_stored_once(shared, load.outcome.stored)


def test_with_preload_off_each_server_loads_the_site_alone(shared: Site) -> None:
    with Load(shared.port, clients=2, pause=0.01) as load:
        configure(shared, preload="off")
        write_code(shared, "alone")
        shared.ok("restart", "servers")
        assert versions(shared) == {1: "alone", 2: "alone"}
        wait_until(lambda: not zygotes(shared), "the former zygote has ended")
        assert "the ordinary way" not in shared.ok("status", "-v").out, "it was asked for"
        pids = server_pids(shared)
        killed = shared.kill("zope1")
        wait_until(lambda: is_back(shared, 1, killed), "server 1 is back")
        back = time.time()
        assert server_pids(shared)[2] == pids[2]

        configure(shared, preload="auto")
        shared.ok("restart", "servers")
        wait_until(lambda: len(zygotes(shared)) == 1, "there is one release")
        load.wait_for(10)
    assert beyond(IN_THE_SERVER, load.outcome.failures, back) == []
    assert_all_stored_once(shared, load.outcome.stored)


def another_python(site: Site) -> Path:
    """An environment of its own whose packages are those of this one."""
    folder = site.home / "another"
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin" / "python"
    python.symlink_to(Path(sys.executable).resolve())
    (folder / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).resolve().parent}\n")
    packages = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    packages.mkdir(parents=True)
    own = next(Path(entry) for entry in sys.path if entry.endswith("site-packages"))
    # Zope and what it needs, found through a path file; zenwebserver itself is not there.
    (packages / "site.pth").write_text(f"{own}\n")
    return python


def test_the_site_runs_in_the_python_that_the_settings_name(shared: Site) -> None:
    python = another_python(shared)
    with Load(shared.port, clients=2, pause=0.01) as load:
        configure(shared, python=python)
        shared.ok("restart", "servers")
        assert {process(shared, number)["python"] for number in (1, 2)} == {str(python.parent.parent)}
        (zygote,) = zygotes(at_rest(shared)).values()
        assert zygote.cmdline()[0] == str(python)
        assert psutil.Process(shared.pid("supervisor")).cmdline()[0] != str(python)

        configure(shared, python=shared.home / "no" / "such" / "python")
        failed = shared.run("restart", "servers")
        assert failed.code == 1
        assert "no/such/python" in failed.err
        assert shared.ok("status", "-v").out.count("[UP]") == 4

        configure(shared, python=sys.executable)
        shared.ok("restart", "servers")
        load.wait_for(10)
    assert load.outcome.failures == []
    assert_all_stored_once(shared, load.outcome.stored)
