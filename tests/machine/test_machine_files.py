"""Files are replaced whole, or not at all; what is left unfinished is known by its name; what is no text is told."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from zenwebserver.errors import ZenwebserverError
from zenwebserver.machine import files


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


def test_a_file_is_made_with_its_mode_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "secret.conf"
    files.replace(path, "fünf\n", mode=0o600)
    assert path.read_text(encoding="utf-8") == "fünf\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert names(tmp_path) == {"secret.conf"}
    files.replace(path, "six\n")
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(("user", "given"), [(0, True), (1000, False)])
def test_what_root_writes_or_makes_in_a_users_folder_is_that_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int, given: bool
) -> None:
    owners: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: user)
    for name in ("chown", "fchown"):
        monkeypatch.setattr(os, name, lambda _, uid, gid: owners.append((uid, gid)))
    folder = tmp_path.stat()
    files.replace(tmp_path / "nginx.conf", "text")
    files.make_folder(tmp_path / "log" / "nginx")
    assert owners == 3 * [(folder.st_uid, folder.st_gid)] * given


def test_the_former_text_is_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "nginx.conf"
    files.replace(path, "first", keep_previous=True)
    assert not (tmp_path / "nginx.conf.prev").exists()
    for text, former in (("second", "first"), ("third", "second")):
        files.replace(path, text, keep_previous=True)
        assert path.read_text() == text
        assert (tmp_path / "nginx.conf.prev").read_text() == former
        assert names(tmp_path) == {"nginx.conf", "nginx.conf.prev"}


def test_the_former_file_is_kept_as_it_was_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "nginx.conf"
    path.write_bytes(b"# caf\xe9\r\n")
    path.chmod(0o640)
    os.utime(path, (1000, 2000))
    files.replace(path, "new", keep_previous=True)
    kept = tmp_path / "nginx.conf.prev"
    assert kept.read_bytes() == b"# caf\xe9\r\n"
    assert (kept.stat().st_mode & 0o777, kept.stat().st_mtime) == (0o640, 2000)


def test_who_has_it_open_goes_on_reading_the_former_text(tmp_path: Path) -> None:
    path = tmp_path / "read"
    files.replace(path, "former")
    with path.open() as reader:
        files.replace(path, "new")
        assert reader.read() == "former"


def test_a_failed_write_leaves_the_former_text_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kept"
    files.replace(path, "former")

    def disk_is_full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_is_full)
    with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
        files.replace(path, "new")
    assert path.read_text() == "former"
    assert names(tmp_path) == {"kept"}


@pytest.mark.parametrize(
    ("keep_previous", "files_first"), [(False, [("file", "former")]), (True, [("file", "former"), ("file", "former")])]
)
def test_a_file_is_on_the_disk_before_it_is_renamed_and_its_name_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep_previous: bool, files_first: list[tuple[str, str]]
) -> None:
    path = tmp_path / "pool.json"
    files.replace(path, "former")
    synced: list[tuple[str, str]] = []
    sync = os.fsync

    def noted(descriptor: int) -> None:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            assert os.path.samestat(status, tmp_path.stat())
        synced.append(("folder" if stat.S_ISDIR(status.st_mode) else "file", path.read_text()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    files.replace(path, "new", keep_previous=keep_previous)
    assert synced == [*files_first, ("folder", "new")]


def test_a_full_disk_leaves_neither_a_new_copy_of_the_former_file_nor_a_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kept"
    files.replace(path, "first")
    files.replace(path, "second", keep_previous=True)
    synced = []
    sync = os.fsync

    def disk_is_full_for_the_second(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 2:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", disk_is_full_for_the_second)
    with pytest.raises(OSError, match="No space left"):
        files.replace(path, "third", keep_previous=True)
    assert (path.read_text(), (tmp_path / "kept.prev").read_text()) == ("second", "first")
    assert names(tmp_path) == {"kept", "kept.prev"}


# What is no text.


@pytest.mark.parametrize(
    ("content", "line", "byte"),
    [(b"caf\xe9", 1, "0xe9"), (b"one\r\ntwo\n\n caf\xe9 \xff\n", 4, "0xe9"), (b"\xef\xbb\xbf\n\xc3", 2, "0xc3")],
)
def test_a_byte_that_is_no_text_is_told_with_its_file_and_line(
    tmp_path: Path, content: bytes, line: int, byte: str
) -> None:
    path = tmp_path / "my nginx.conf.template"
    path.write_bytes(content)
    with pytest.raises(ZenwebserverError) as caught:
        files.read_text(path)
    assert caught.value.message == f"{path} is not UTF-8: line {line}, byte {byte}"
    assert "Save it as UTF-8" in caught.value.hint
    command = caught.value.hint.partition("from Latin-1: ")[2]
    subprocess.run(command, shell=True, check=True)
    assert Path(f"{path}.utf8").read_text(encoding="utf-8") == content.decode("latin1").replace("\r\n", "\n")
    assert path.read_bytes() == content


def test_text_is_read_without_what_other_systems_add(tmp_path: Path) -> None:
    path = tmp_path / "zope.conf"
    path.write_bytes("\ufeffeins\r\nfünf\rdrei\n".encode())
    assert files.read_text(path) == "eins\nfünf\ndrei\n"
    with pytest.raises(FileNotFoundError):
        files.read_text(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        files.read_text(tmp_path)


def test_whether_a_file_holds_a_text_can_be_asked_of_any_file(tmp_path: Path) -> None:
    path = tmp_path / "nginx.conf"
    assert not files.holds(path, "fünf\n")
    files.replace(path, "fünf\n")
    assert files.holds(path, "fünf\n")
    for content in (b"f\xfcnf\n", "fünf\r\n".encode(), b""):
        path.write_bytes(content)
        assert not files.holds(path, "fünf\n")


# What killed runs leave.


def killed_while_it_replaces(path: Path) -> None:
    """A real process, killed when what it writes stands beside `path`."""
    program = (
        "import os, signal, sys; from pathlib import Path; from zenwebserver.machine import files;"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL);"
        "files.replace(Path(sys.argv[1]), 'new')"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(path)])
    assert ended.returncode == -signal.SIGKILL


def test_what_a_killed_run_left_is_swept_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, elsewhere = tmp_path / "etc", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    kept = [
        *(folder / name for name in ("zope.conf", ".hidden", "notes.zenwebserver-new", files.MARK, ".zope.conf.swp")),
        folder / f".zope.conf{files.MARK}.bak",
        elsewhere / "kept",
        elsewhere / f".kept{files.MARK}",
    ]
    for path in kept:
        path.write_text("kept")
    (folder / f".file-link{files.MARK}").symlink_to(elsewhere / "kept")
    (folder / f".folder-link{files.MARK}").symlink_to(elsewhere)
    os.mkfifo(folder / f".pipe{files.MARK}")
    (folder / "inner").mkdir()
    (folder / "inner" / f".kept{files.MARK}").touch()
    before = names(folder)

    killed_while_it_replaces(folder / "zope.conf")
    left = names(folder) - before
    assert len(left) == 1
    verify = folder / f".verify-abc{files.MARK}"
    verify.mkdir()
    (verify / "link").symlink_to(elsewhere)
    (verify / "nginx.conf").touch()
    assert set(files.sweep([folder])) == {verify, folder / left.pop()}

    assert names(folder) == before
    assert all(path.read_text() == "kept" for path in kept)
    assert (folder / "inner" / f".kept{files.MARK}").exists()
    assert names(elsewhere) == {"kept", f".kept{files.MARK}"}
    assert files.sweep([folder]) == []
    assert caplog.text == ""


def test_a_linked_or_missing_folder_is_not_swept(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    theirs = tmp_path / "theirs" / f".theirs{files.MARK}"
    theirs.touch()
    (tmp_path / "etc").symlink_to(tmp_path / "theirs")
    (tmp_path / "file").touch()
    assert files.sweep([tmp_path / "etc", tmp_path / "none", tmp_path / "file"]) == []
    assert theirs.exists()


def test_what_cannot_be_removed_keeps_nothing_else_from_being_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in "abc":
        (tmp_path / f".{name}{files.MARK}").touch()
    unlink = Path.unlink

    def refused(path: Path, missing_ok: bool = False) -> None:
        if path.name.startswith(".b"):
            raise PermissionError(13, "Permission denied", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refused)
    assert len(files.sweep([tmp_path])) == 2
    assert f".b{files.MARK}" in caplog.text


def test_the_names_to_sweep_can_be_said(tmp_path: Path) -> None:
    for name in (".a.12345678", ".b.12345678", ".a.1234567", "x.a.12345678"):
        (tmp_path / name).touch()
    assert files.sweep([tmp_path], re.compile(r"\.a\.[0-9]{8}")) == [tmp_path / ".a.12345678"]


def test_a_missing_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    files.make_folder(tmp_path / "log" / "nginx", mode=0o700)
    assert (tmp_path / "log" / "nginx").stat().st_mode & 0o777 == 0o700
    files.make_folder(tmp_path / "log" / "nginx")
    assert (tmp_path / "log" / "nginx").stat().st_mode & 0o777 == 0o700


def test_what_cannot_be_written_is_told_by_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "no folder" / "nginx.conf"
    with pytest.raises(FileNotFoundError) as missing:
        files.replace(path, "text")
    assert missing.value.filename == str(path)
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(IsADirectoryError) as error:
        files.replace(path, "text")
    assert error.value.filename == str(path)
    assert names(tmp_path) == {"folder"}
