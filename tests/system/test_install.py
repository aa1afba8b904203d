"""A Zenoss-like home whose web server becomes zenwebserver's, and goes back."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Ran, Site, wait_until

DAEMONS = "zeneventserver\nzopectl\nzenhub\n"
ZOPECTL = """#!/bin/sh
# A control script of the old kind: it runs `sleep` in place of Zope.
pid_file=$ZENHOME/var/zopectl.pid
case $1 in
  start) sleep 3600 & echo $! > $pid_file ;;
  stop) kill $(cat $pid_file) && rm $pid_file && echo stopped ;;
  status) if [ -f $pid_file ]; then echo "program running; pid=$(cat $pid_file)"; else echo "not running"; exit 1; fi ;;
esac
"""


@pytest.fixture
def zenoss_like(make_site: Callable[..., Site]) -> Site:
    site = make_site()
    for folder in ("etc", "bin", "var"):
        (site.home / folder).mkdir(parents=True)
    (site.home / "etc" / "daemons.txt").write_text(DAEMONS)
    (site.home / "bin" / "zopectl").write_text(ZOPECTL)
    (site.home / "bin" / "zopectl").chmod(0o755)
    return site


def called(site: Site, *words: str) -> Ran:
    """A command as somebody types it."""
    done = subprocess.run(words, env=site.environment, capture_output=True, text=True)
    return Ran(done.returncode, done.stdout, done.stderr)


def tree(home: Path) -> dict[str, bytes]:
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def test_the_pool_takes_the_place_of_zopectl_and_gives_it_back_byte_for_byte(zenoss_like: Site) -> None:
    site, before = zenoss_like, tree(zenoss_like.home)
    installed = site.ok("install")
    assert "Switching etc/daemons.txt" in installed.out
    assert (site.home / "etc" / "daemons.txt").read_text() == DAEMONS.replace("zopectl", "zenwebserver")
    assert (site.home / "bin" / "zenwebserver").resolve().name == "zenwebserver"

    conf = site.home / "etc" / "zenwebserver.conf"
    lines = [f"httpAddress 127.0.0.1\nhttpPort {site.port}\nserverBasePort {site.base}\n"]
    conf.write_text(conf.read_text() + "".join(lines))
    site.ok("configure")
    site.ok("start")
    assert site.get("/").status == 200
    assert site.ok("install").out.startswith("It is installed already")

    del site.environment["ZENHOME"]
    own = str(site.home / "bin" / "zenwebserver")
    assert called(site, own, "status").out == f"program running; pid={site.pid('nginx')}\n"
    again = called(site, own, "install")
    assert again.out.startswith("It is installed already"), again
    site.environment["ZENHOME"] = str(site.home)

    uninstalled = site.ok("uninstall")
    assert "Putting back etc/daemons.txt" in uninstalled.out
    wait_until(lambda: not site.processes(), "nothing is left")
    after = tree(site.home)
    data = {name for name in after if name.startswith(("var/filestorage/", "var/blobstorage/"))}
    assert "var/filestorage/Data.fs" in data, "data is never deleted"
    edited = {"etc/zenwebserver.conf"}  # the admin's work is kept
    assert {name: content for name, content in after.items() if name not in data | edited} == before
    assert "not installed" in site.ok("uninstall").out


def test_a_home_with_several_zope_servers_is_left_as_it_is(zenoss_like: Site) -> None:
    daemons = zenoss_like.home / "etc" / "daemons.txt"
    daemons.write_text("zopectl\nzopectl2\nzenhub\n")
    before = tree(zenoss_like.home)
    refused = zenoss_like.run("install")
    assert refused.code == 1
    assert "zopectl2" in refused.err
    assert "--force" in refused.err
    assert tree(zenoss_like.home) == before


def test_a_running_zopectl_is_stopped(zenoss_like: Site) -> None:
    site = zenoss_like
    subprocess.run(
        [str(site.home / "bin" / "zopectl"), "start"], env=site.environment, check=True, stdout=subprocess.DEVNULL
    )
    assert "Stopping bin/zopectl" in site.ok("install").out
    assert not (site.home / "var" / "zopectl.pid").exists()


def test_the_command_of_a_copied_home_works_on_it_alone(zenoss_like: Site, make_site: Callable[..., Site]) -> None:
    site, copy = zenoss_like, make_site()
    site.ok("install")
    subprocess.run(["cp", "-a", site.home, copy.home], check=True)
    own = str(copy.home / "bin" / "zenwebserver")
    refused = called(site, own, "stop")  # ZENHOME is the original's
    assert (refused.code, refused.out) == (2, "")
    assert f"{own} belongs to that home, but ZENHOME is {site.home}\n" in refused.err
    del copy.environment["ZENHOME"]
    assert called(copy, own, "configure").code == 0
    assert str(site.home) not in (copy.home / "etc" / "nginx.conf").read_text()
    copy.environment["ZENHOME"] = str(copy.home)
