"""The supervisor's log: whatever happens to the disk and its files, nobody who logs something fails."""

from __future__ import annotations

import logging
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from zenwebserver.supervisor.log import LOG_BYTES, LOG_FILES, RotatingLog


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log" / "zenwebserver.log"


@pytest.fixture
def log(path: Path) -> Iterator[RotatingLog]:
    log = RotatingLog(path, most=100, former=2)
    yield log
    log.close()


def say(log: RotatingLog, message: object, *arguments: object) -> None:
    log.handle(logging.LogRecord("name", logging.INFO, __file__, 1, message, arguments, None))


def names(path: Path) -> set[str]:
    return {each.name for each in path.parent.iterdir()}


def test_records_are_there_at_once_behind_those_of_earlier_supervisors(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("earlier\n")
    log = RotatingLog(path)
    say(log, "%s and %d", "fünf", 6)
    assert path.read_text(encoding="utf-8") == "earlier\nfünf and 6\n"
    log.close()
    say(log, "after its end")
    assert path.read_text(encoding="utf-8").endswith("after its end\n")
    log.close()


def test_the_last_ones_are_kept(log: RotatingLog, path: Path) -> None:
    for number in range(8):
        say(log, "%02d" + "." * 57, number)
    assert names(path) == {path.name, f"{path.name}.1", f"{path.name}.2"}
    kept = [path.with_name(path.name + end).read_text() for end in (".2", ".1", "")]
    assert [text[:2] for text in kept] == ["05", "06", "07"]


def test_it_has_the_sizes_that_the_documents_name() -> None:
    assert (LOG_BYTES, LOG_FILES) == (10 * 1024 * 1024, 5)


def test_a_file_that_was_deleted_is_made_anew(log: RotatingLog, path: Path) -> None:
    say(log, "lost")
    path.unlink()
    say(log, "kept")
    assert path.read_text() == "kept\n"


def test_a_folder_that_was_deleted_is_made_anew(log: RotatingLog, path: Path) -> None:
    say(log, "lost")
    shutil.rmtree(path.parent)
    say(log, "kept")
    say(log, "kept too")
    assert path.read_text() == "kept\nkept too\n"


def test_where_the_home_is_gone_nothing_is_made_in_its_place(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    path = home / "log" / "zenwebserver.log"
    moved = RotatingLog(path)
    home.rename(elsewhere)
    say(moved, "moved")
    assert not home.exists()
    assert (elsewhere / "log" / "zenwebserver.log").read_text() == "moved\n"
    moved.close()
    say(moved, "lost")
    assert not home.exists()


def test_a_file_that_was_moved_away_gets_nothing_more(log: RotatingLog, path: Path) -> None:
    say(log, "former")
    path.rename(path.with_name("elsewhere"))
    say(log, "new")
    assert path.with_name("elsewhere").read_text() == "former\n"
    assert path.read_text() == "new\n"
    path.rename(path.with_name("again"))
    path.write_text("made by another\n")
    say(log, "mine")
    assert path.read_text() == "made by another\nmine\n"


def test_a_file_that_was_emptied_is_written_from_its_beginning(log: RotatingLog, path: Path) -> None:
    say(log, "former")
    os.truncate(path, 0)
    say(log, "new")
    assert path.read_text() == "new\n"


def test_only_one_descriptor_is_open(log: RotatingLog, path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(20):
        say(log, "." * 60)
        if number % 3:
            shutil.rmtree(path.parent)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_two_supervisors_one_after_the_other_lose_nothing(log: RotatingLog, path: Path) -> None:
    """During an upgrade both log."""
    other = RotatingLog(path, most=100, former=2)
    for number in range(4):
        say(log, "%d" + "." * 30, number)
        say(other, "%d" + "." * 30, number)
    other.close()
    text = "".join(path.with_name(path.name + end).read_text() for end in (".2", ".1", ""))
    assert [line[0] for line in text.splitlines()][-6:] == list("112233")


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))  # Python ignores SIGXFSZ
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_stops_nobody(path: Path) -> None:
    """The longest file that this process may write stands for the disk's end."""
    log = RotatingLog(path)
    with largest_file(10):
        say(log, "before")
        say(log, "this is lost")
    say(log, "after")
    assert path.read_text().splitlines()[-1].endswith("after")
    log.close()


def test_a_folder_that_cannot_be_made_stops_nobody(log: RotatingLog, path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.write_text("a file is in its place")
    say(log, "lost")
    path.parent.unlink()
    say(log, "kept")
    assert path.read_text() == "kept\n"


def test_a_record_that_makes_no_sense_stops_nobody(log: RotatingLog, path: Path) -> None:
    say(log, "%d", "no number")
    say(log, "path %s", os.fsdecode(b"caf\xe9"))
    assert path.read_text() == "path caf\\udce9\n"


def test_what_ends_the_supervisor_stands_in_its_log_and_nowhere_else(tmp_path: Path) -> None:
    program = (
        "import logging, sys; from pathlib import Path; from zenwebserver.home import Home;"
        "from zenwebserver.supervisor.log import configure_logging; configure_logging(Home(Path(sys.argv[1])));"
        "logging.getLogger('uvicorn.access').info('noise'); logging.getLogger('any').info('said');"
        "logging.getLogger('any').info('%d', 'x'); raise SystemError('broken')"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (1, "")
    text = (tmp_path / "log" / "zenwebserver.log").read_text()
    assert re.match(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO said\n", text)
    assert " CRITICAL The supervisor fails\nTraceback" in text
    assert "SystemError: broken" in text
    assert "noise" not in text
