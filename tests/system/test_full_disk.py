"""A full disk below log/ or var/: said clearly, and the running site goes on."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Site, wait_until


@pytest.fixture
def small_disk() -> Iterator[Callable[[Path], None]]:
    """Mounts a small file system at a folder."""
    mounted: list[Path] = []

    def mount(folder: Path) -> None:
        command = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=755", "none", str(folder)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("mounting a file system is not allowed here")
        mounted.append(folder)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            return filler
    raise AssertionError("the disk never fills")


def who(site: Site) -> int:
    """The pid of server 1; 0 while it does not answer."""
    try:
        return int(site.get("/who", port=site.server_port(1)).text.split()[0])
    except (OSError, http.client.HTTPException):
        return 0


@pytest.mark.parametrize("where", ["log", "var/run"])
def test_the_site_goes_on_while_a_disk_is_full_and_recovers(
    site: Site, small_disk: Callable[[Path], None], where: str
) -> None:
    folder = site.home / where
    small_disk(folder)
    if where == "var/run":
        folder.chmod(0o700)
    else:
        (folder / "nginx").mkdir()
    site.use("store").ok("start")
    filler = fill(folder)
    for command in ("restart", "detach 1", "attach 1", "deploy +1"):
        ran = site.run(*command.split())
        assert ran.code in (0, 1)
        assert "Traceback" not in ran.err, ran
        assert ran.code == 0 or "No space left on device" in ran.err, ran
        assert all(site.get("/who").status == 200 for _ in range(5)), command
    killed = who(site)  # not by its pid file, which may be older
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: who(site) not in (0, killed), "the server is back")
    filler.unlink()
    site.ok("restart")
    assert site.get("/who").status == 200
    site.ok("stop")
    wait_until(lambda: not site.processes(), "nothing is left")
