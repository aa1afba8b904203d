"""A restart loads the code as it is now; two releases can live side by side, each with its own zygote."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from harness import Site, wait_until
from load import Load
from warm import (
    assert_all_stored_once,
    configure,
    is_back,
    process,
    running_site,
    server_pids,
    status,
    version,
    versions,
    write_code,
    zygotes,
)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with running_site(2) as site:
        yield site


def release_of(site: Site, number: int) -> str:
    return next(str(each["release"]) for each in status(site)["servers"] if each["number"] == number)


def test_a_new_version_is_tried_on_a_detached_server_beside_the_old_one(site: Site) -> None:
    with Load(site.port, clients=4, pause=0.01) as load:
        site.ok("detach", "2")
        write_code(site, "2")
        site.ok("restart", "2")
        assert versions(site) == {1: "1", 2: "2"}
        old, new = release_of(site, 1), release_of(site, 2)
        assert sorted(zygotes(site)) == sorted([old, new])
        assert {each["name"]: each["zygote"] for each in status(site)["releases"]} == {
            name: zygote.pid for name, zygote in zygotes(site).items()
        }
        shown = site.ok("status", "-v").out
        assert f"* Release {old}\n" in shown
        assert f"* Release {new}\n" in shown

        # A killed server comes back from its own release, though the code has changed since.
        write_code(site, "not yet loaded")
        failed_before = len(load.outcome.failures)
        for number, its_version in ((1, "1"), (2, "2")):
            killed = site.kill(f"zope{number}")
            wait_until(lambda number=number, killed=killed: is_back(site, number, killed), "it is back")
            assert version(site, number) == its_version
        # At most what the killed process worked on: alone in the pool, nginx has no other server to ask.
        broken_off = load.outcome.failures[failed_before:]
        assert all(" 502 " in failure for failure in broken_off)
        assert len(broken_off) <= 4

        # A new server takes the newest release that has come up.
        site.ok("deploy", "+1")
        assert versions(site) == {1: "1", 2: "2", 3: "2"}

        # With its last server an old release ends.
        write_code(site, "3")
        site.ok("restart", "1")
        assert versions(site) == {1: "3", 2: "2", 3: "2"}
        wait_until(lambda: old not in zygotes(site), "the old release's zygote has ended")
        assert not (site.home / "etc" / "zope" / f"release{old}.conf").exists()
        site.ok("attach", "2")
        site.ok("deploy", "2")
        site.ok("restart", "servers")
        assert versions(site) == {1: "3", 2: "3"}
        wait_until(lambda: len(zygotes(site)) == 1, "one release is left")
        assert "Release" not in site.ok("status", "-v").out
        load.wait_for(20)
    assert load.outcome.failures == broken_off
    assert_all_stored_once(site, load.outcome.stored)


def test_with_preload_off_each_server_loads_the_site_alone(site: Site) -> None:
    with Load(site.port, clients=2, pause=0.01) as load:
        configure(site, preload="off")
        write_code(site, "alone")
        site.ok("restart", "servers")
        assert versions(site) == {1: "alone", 2: "alone"}
        assert not zygotes(site)
        assert "the ordinary way" not in site.ok("status", "-v").out, "it was asked for"
        pids = server_pids(site)
        killed = site.kill("zope1")
        wait_until(lambda: is_back(site, 1, killed), "server 1 is back")
        assert server_pids(site)[2] == pids[2]

        configure(site, preload="auto")
        site.ok("restart", "servers")
        assert len(zygotes(site)) == 1
        load.wait_for(10)
    assert [failure for failure in load.outcome.failures if " POST 502" not in failure] == []
    assert_all_stored_once(site, load.outcome.stored)


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


def test_the_site_runs_in_the_python_that_the_settings_name(site: Site) -> None:
    python = another_python(site)
    with Load(site.port, clients=2, pause=0.01) as load:
        configure(site, python=python)
        site.ok("restart", "servers")
        assert {process(site, number)["python"] for number in (1, 2)} == {str(python.parent.parent)}
        (zygote,) = zygotes(site).values()
        assert zygote.cmdline()[0] == str(python)
        assert psutil.Process(site.pid("supervisor")).cmdline()[0] != str(python)

        configure(site, python=site.home / "no" / "such" / "python")
        failed = site.run("restart", "servers")
        assert failed.code == 1
        assert "no/such/python" in failed.err
        assert site.ok("status", "-v").out.count("[UP]") == 4

        configure(site, python=sys.executable)
        site.ok("restart", "servers")
        load.wait_for(10)
    assert load.outcome.failures == []
    assert_all_stored_once(site, load.outcome.stored)
