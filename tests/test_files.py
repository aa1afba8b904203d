"""Files are replaced whole, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zenwebserver.machine import files


def test_a_file_is_made_with_its_mode_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "secret.conf"
    files.replace(path, "fünf\n", mode=0o600)
    assert path.read_text(encoding="utf-8") == "fünf\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["secret.conf"]


def test_the_former_text_is_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "nginx.conf"
    files.replace(path, "first", keep_previous=True)
    assert not (tmp_path / "nginx.conf.prev").exists()
    for text, former in (("second", "first"), ("third", "second")):
        files.replace(path, text, keep_previous=True)
        assert path.read_text() == text
        assert (tmp_path / "nginx.conf.prev").read_text() == former


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
    with pytest.raises(OSError, match="No space left"):
        files.replace(path, "new")
    assert path.read_text() == "former"
    assert [each.name for each in tmp_path.iterdir()] == ["kept"]
