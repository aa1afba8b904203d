"""Started as root, everything runs as the owner of the home, also on a port below 1024."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from harness import COMMAND, Site, wait_until
from load import Load

OWNER = "nobody"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def owner() -> pwd.struct_passwd:
    """Somebody else, who can run what is installed here."""
    entry = pwd.getpwnam(OWNER)
    try:
        ran = subprocess.run([COMMAND, "--version"], user=entry.pw_uid, group=entry.pw_gid, extra_groups=[], cwd="/")
        can_run = ran.returncode == 0
    except OSError:
        can_run = False
    if not can_run:
        pytest.skip(f"user {OWNER} cannot run {COMMAND}: it, or its Python, is below a private folder")
    return entry


def identities(site: Site) -> set[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The users and groups (real, effective, saved) as which the site's processes run."""
    found = set()
    for process in site.processes():
        with contextlib.suppress(psutil.NoSuchProcess):  # one of the former
            found.add((tuple(process.uids()), tuple(process.gids())))
    return found


def free_low_port() -> int:
    for port in range(1023, 600, -1):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port below 1024")


def test_everything_runs_as_the_owner_of_the_home(make_site: Callable[..., Site], owner: pwd.struct_passwd) -> None:
    port = free_low_port()
    site = make_site(httpPort=port)
    site.port = port
    site.home.mkdir()
    os.chown(site.home, owner.pw_uid, owner.pw_gid)
    site.init().use("store")
    os.chown(site.home / "etc" / "site.zcml", owner.pw_uid, owner.pw_gid)  # the test has written it
    site.ok("start")
    assert site.get("/who").status == 200
    with Load(site.port, clients=4) as load:
        load.wait_for(20)
        for command in ("restart", "deploy +1", "deploy 2", "reload"):
            site.ok(*command.split())
        load.wait_for(20)
    assert load.outcome.failures == []
    site.kill("nginx")
    wait_until(lambda: site.run("status").code == 0 and site.answers("/who"), "nginx is back on its port")

    assert len(site.processes()) >= 6
    assert identities(site) == {((owner.pw_uid,) * 3, (owner.pw_gid,) * 3)}
    status = f"/proc/{site.pid('zope1')}/status"
    with Path(status).open() as file:
        capabilities = dict(line.split(":\t") for line in file.read().splitlines() if line.startswith("Cap"))
    assert int(capabilities["CapEff"], 16) == 0
    assert [path for path in site.home.rglob("*") if path.lstat().st_uid != owner.pw_uid] == []
    assert f"everything runs as {OWNER}" in site.log()

    site.kill("supervisor")
    site.ok("start")
    site.ok("restart")
    assert identities(site) == {((owner.pw_uid,) * 3, (owner.pw_gid,) * 3)}
    site.ok("stop")
    wait_until(lambda: not site.processes(), "nothing is left")


def test_in_a_home_of_root_everything_runs_as_root_and_the_log_says_so(site: Site) -> None:
    site.ok("start", "storage")
    assert {uids for uids, _ in identities(site)} == {(0, 0, 0)}
    assert "Everything runs as root, because root owns" in site.log()
