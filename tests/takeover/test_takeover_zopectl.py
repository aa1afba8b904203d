"""The former control script, in the manners of speaking that there are."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from zenoss_home import Site, do_install

from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.takeover import zopectl


def say(site: Site, script: str) -> None:
    path = site.home.path / "bin/zopectl"
    path.write_text(f"#! /bin/bash\n{script}\n")
    path.chmod(0o755)


def test_a_running_server_is_known_by_its_words_and_stopped(site: Site) -> None:
    site.zopectl("start")
    server = zopectl.running(site.home)
    assert server
    assert server.pid == int((site.home.var / "Z2.pid").read_text())
    zopectl.stop(site.home, server)
    assert zopectl.running(site.home) is None


@pytest.mark.parametrize(
    ("script", "runs"),
    [
        ("echo 'program running; pid=1'", True),
        ("echo 'program running; pid=1'; exit 3", True),
        ("echo 'daemon manager not running'", False),
        ("echo 'program not running'; exit 1", False),
        ("exit 0", True),
        ("exit 1", False),
    ],
)
def test_words_count_before_the_exit_code(site: Site, script: str, runs: bool) -> None:
    say(site, script)
    assert bool(zopectl.running(site.home)) is runs


def test_a_pid_file_counts_where_words_and_exit_code_tell_nothing(site: Site) -> None:
    say(site, "exit 1")
    (site.home.var / "Z2.pid").write_text(f"{os.getpid()}\n")
    assert zopectl.running(site.home) == zopectl.Running(os.getpid())


def test_a_pid_file_older_than_its_process_names_another(site: Site) -> None:
    say(site, "exit 1")
    pid_file = site.home.var / "Z2.pid"
    pid_file.write_text(f"{os.getpid()}\n")
    os.utime(pid_file, (1, 1))
    assert zopectl.running(site.home) is None


def test_a_missing_zopectl_and_one_that_is_zenwebserver_itself_are_no_other_server(site: Site) -> None:
    script = site.home.path / "bin/zopectl"
    assert zopectl.is_there(site.home, site.command)
    script.unlink()
    assert not zopectl.is_there(site.home, site.command)
    script.symlink_to(site.command)
    assert not zopectl.is_there(site.home, site.command)


def test_a_server_that_does_not_stop_is_said_with_its_words(site: Site) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as server:
        say(site, f"echo 'program running; pid={server.pid}'; test $1 = status")
        with pytest.raises(ZenwebserverError, match=rf"did not stop the server \(pid {server.pid}\)") as caught:
            zopectl.stop(site.home, zopectl.Running(server.pid))
        assert "program running" in caught.value.detail
        assert server.stdin
        server.stdin.close()
    say(site, "exit 1")


def test_a_zopectl_that_hangs_is_killed_after_its_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zopectl, "STATUS_SECONDS", 0.2)
    fifo = site.home.var / "never"
    os.mkfifo(fifo)
    say(site, f"echo wait; cat {fifo}")
    with pytest.raises(ZenwebserverError, match="did not end within") as caught:
        zopectl.running(site.home)
    assert caught.value.detail == "wait\n"
    say(site, "exit 1")


def test_the_home_is_told_to_zopectl(site: Site, tmp_path: Path) -> None:
    say(site, f"echo $ZENHOME $1 >>{tmp_path}/heard; exit 1")
    zopectl.running(site.home)
    assert (tmp_path / "heard").read_text() == f"{site.home.path} status\n"


def test_in_a_copied_home_the_originals_server_is_left_running(site: Site, tmp_path: Path) -> None:
    site.zopectl("start")
    running = site.zopectl("status")
    copy = Site(Home.at(tmp_path / "copy"), site.command)
    shutil.copytree(site.home.path, copy.home.path, ignore=shutil.ignore_patterns("alive"))
    say(copy, "[ $1 = status ] || exit 1\necho 'program running; pid='$(cat $ZENHOME/var/Z2.pid)")
    do_install(copy)
    assert "Stopping bin/zopectl" not in copy.entered
    assert site.zopectl("status") == running
