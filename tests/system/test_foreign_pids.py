"""A pid file is believed only with the start time of its process."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Site, wait_until

PID_FILES = (
    "run/zope1.pid",
    "run/zygote1.pid",
    "run/storage.pid",
    "run/supervisor.pid",
    "nginx.pid",
    "nginx.pid.oldbin",
)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with the site."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_a_process_that_has_the_pid_of_a_dead_one_is_left_alone(site: Site, stranger: subprocess.Popen[bytes]) -> None:
    run = site.home / "var" / "run"
    for name in PID_FILES:
        started = "" if name.startswith("nginx") else f" 1 {boot_id()}"
        (run.parent / name).write_text(f"{stranger.pid}{started}\n")
    assert site.run("status").out == "not running\n"
    assert site.ok("stop").out == "It is stopped already\n"
    assert "[UP]" not in site.run("status", "-v").out

    site.use("store").ok("start")
    assert site.get("/who").status == 200
    assert stranger.pid not in {site.pid(name) for name in ("zope1", "storage", "supervisor", "nginx")}
    for command in ("restart", "deploy 1", "stop"):
        site.ok(*command.split())
    wait_until(lambda: not site.processes(), "nothing is left")
    assert stranger.poll() is None


def test_a_pid_file_without_a_pid_means_that_nothing_runs(site: Site) -> None:
    for content in ("", "garbage\n", "-1\n", "0 0 0\n", "99999999999999999999\n"):
        for name in PID_FILES:
            (site.home / "var" / name).write_text(content)
        ran = site.run("status", "-v")
        assert ran.code == 1
        assert "[UP]" not in ran.out
        assert "Traceback" not in ran.err
    site.ok("start", "storage")
