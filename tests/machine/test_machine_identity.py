"""A pid file names one process of one boot, and no other that has its pid by now."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from zenwebserver.machine.identity import Identity, boot_id, last_argument, started_with


@contextmanager
def living(*command: str, **settings: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process that shows its arguments and its environment; a new program has none of them for a moment."""
    with subprocess.Popen(command or ("sleep", "600"), **settings) as process:
        try:
            while not Path(f"/proc/{process.pid}/environ").read_bytes():
                assert process.poll() is None
            yield process
        finally:
            process.kill()


def test_a_living_process_is_read_back_and_a_dead_one_is_not(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    named = Identity.of(sleeper.pid)
    assert named
    named.write(tmp_path / "pid")
    assert Identity.read(tmp_path / "pid") == named
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert Identity.of(sleeper.pid) is None, "a zombie is dead"
    assert Identity.read(tmp_path / "pid") is None
    sleeper.wait()
    assert Identity.of(sleeper.pid) is None


@pytest.mark.parametrize("field", [1, 2])
def test_another_start_time_or_another_boot_is_another_process(tmp_path: Path, field: int) -> None:
    own = Identity.of(os.getpid())
    assert own
    own.write(tmp_path / "pid")
    words = (tmp_path / "pid").read_text().split()
    words[field] = "12345"
    (tmp_path / "pid").write_text(" ".join(words))
    assert Identity.read(tmp_path / "pid") is None


def test_a_process_is_of_the_folder_where_it_works_wherever_that_is_moved(tmp_path: Path) -> None:
    folder, copy = tmp_path / "a", tmp_path / "b"
    for each in (folder, copy):
        each.mkdir()
    (tmp_path / "link").symlink_to(folder)
    with living(cwd=folder) as process:
        named = Identity.of(process.pid)
        assert named
        assert named.works_in(folder)
        assert named.works_in(tmp_path / "link")
        assert not named.works_in(copy)
        folder.rename(tmp_path / "c")
        assert named.works_in(tmp_path / "c")
        assert not named.works_in(folder)
        (tmp_path / "c").rmdir()
        assert not named.works_in(copy), "a folder that is gone is no other one"


def test_one_that_has_gone_to_work_elsewhere_is_known_by_its_environment(tmp_path: Path) -> None:
    with living(cwd="/", env={**os.environ, "ZENHOME": str(tmp_path)}) as process:
        named = Identity.of(process.pid)
        assert named
        assert named.works_in(tmp_path)
        assert not named.works_in(tmp_path.parent)


@pytest.mark.parametrize("text", ["", "17", "one two three", "1 2 3 4", "\0"])
def test_a_file_that_makes_no_sense_names_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "pid").write_text(text)
    assert Identity.read(tmp_path / "pid") is None
    assert Identity.read(tmp_path / "none") is None


@pytest.mark.parametrize("pid", [0, -1, 2**40])
def test_a_number_that_is_no_process_names_nobody(tmp_path: Path, pid: int) -> None:
    assert Identity.of(pid) is None
    (tmp_path / "pid").write_text(f"{pid} 1 {boot_id()}\n")
    assert Identity.read(tmp_path / "pid") is None


def test_a_file_that_is_no_text_names_nobody(tmp_path: Path) -> None:
    (tmp_path / "pid").write_bytes(b"\xe9 1 2")
    assert Identity.read(tmp_path / "pid") is None


def test_a_process_may_have_any_name() -> None:
    program = "open('/proc/self/comm', 'wb').write(b') S \\xe9\\n'); print(flush=True); input()"
    with living(sys.executable, "-c", program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        assert b"\xe9" in Path(f"/proc/{process.pid}/stat").read_bytes()
        found = Identity.of(process.pid)
    assert found
    assert found.pid == process.pid
    assert found.started > 0


def test_processes_are_found_by_how_their_last_argument_begins_and_by_their_user(tmp_path: Path) -> None:
    mark = f'{{"storage": "{tmp_path}/storage.conf"'
    argument = json.dumps({"storage": f"{tmp_path}/storage.conf", "token": "t"})
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with living(*command, argument) as told, living(*command, f"grep {argument}") as otherwise:
        assert started_with(mark, os.getuid()) == [Identity.of(told.pid)]
        assert started_with(mark, os.getuid() + 1) == []
        assert last_argument(otherwise.pid) == f"grep {argument}"
    assert started_with(mark, os.getuid()) == []
    assert last_argument(told.pid) == ""
