"""Which home is meant by how the command is called, and who is believed where two are named."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from zenwebserver.errors import UsageError
from zenwebserver.finding import find
from zenwebserver.home import Home

ELSEWHERE = Path("/opt/tools/bin/zenwebserver")


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def command(folder: Path) -> Path:
    """An installation that serves any home."""
    path = folder / "venv" / "bin" / "zenwebserver"
    path.parent.mkdir(parents=True)
    path.touch()
    return path


@pytest.fixture
def installed(folder: Path, command: Path) -> Path:
    """A home to which the installation was linked."""
    return make_home(folder / "site", command)


def make_home(path: Path, command: Path) -> Path:
    home = Home.at(path)
    home.make_folders()
    home.settings_file.touch()
    (path / "bin").mkdir()
    (path / "bin" / "zenwebserver").symlink_to(command)
    return path


def test_zenhome_names_the_home() -> None:
    found = find({"ZENHOME": "/srv/site", "XDG_DATA_HOME": "/data"}, ELSEWHERE)
    assert (found.home.path, found.whence) == (Path("/srv/site"), "ZENHOME names it")


@pytest.mark.parametrize("environment", [{"XDG_DATA_HOME": "/data"}, {"XDG_DATA_HOME": "/data", "ZENHOME": ""}])
def test_without_it_the_users_data_folder_holds_it(environment: dict[str, str]) -> None:
    found = find(environment, ELSEWHERE)
    assert found.home.path == Path("/data/zenwebserver")
    assert found.whence == "ZENHOME is not set, and XDG_DATA_HOME is /data"


def test_without_either_the_default_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/person")
    found = find({}, ELSEWHERE)
    assert found.home.path == Path("/person/.local/share/zenwebserver")
    assert found.whence == "ZENHOME is not set, and this is where it is by default"


def test_the_command_in_a_homes_bin_works_on_that_home(installed: Path, folder: Path) -> None:
    link = installed / "bin" / "zenwebserver"
    assert find({}, link).home.path == installed
    (folder / "of-the-system").symlink_to(link)
    assert find({}, folder / "of-the-system").home.path == installed


def test_in_a_copied_or_moved_home_it_works_on_where_it_stands(installed: Path, folder: Path) -> None:
    shutil.copytree(installed, folder / "copy", symlinks=True)
    assert find({}, folder / "copy" / "bin" / "zenwebserver").home.path == folder / "copy"
    installed.rename(folder / "moved")
    assert find({}, folder / "moved" / "bin" / "zenwebserver").home.path == folder / "moved"


def test_the_installation_itself_is_of_no_home(installed: Path, command: Path) -> None:
    assert find({"XDG_DATA_HOME": "/data"}, command).home.path == Path("/data/zenwebserver")
    assert find({"ZENHOME": "/srv/other"}, command).home.path == Path("/srv/other")


def test_an_installation_that_lives_in_a_home_serves_that_one_but_others_too(folder: Path) -> None:
    home = make_home(folder / "site", folder / "nowhere")
    command = home / "bin" / "zenwebserver"
    command.unlink()
    command.touch()
    assert find({}, command).home.path == home
    assert find({"ZENHOME": "/srv/other"}, command).home.path == Path("/srv/other")


def test_where_the_link_of_one_home_is_called_and_zenhome_names_another_neither_is_touched(
    installed: Path, command: Path, folder: Path
) -> None:
    other = make_home(folder / "other", command)
    link = installed / "bin" / "zenwebserver"
    with pytest.raises(UsageError, match=f"{link} belongs to that home, but ZENHOME is {other}") as refused:
        find({"ZENHOME": str(other)}, link)
    assert f"ZENHOME={other} {command} …" in refused.value.hint
    (folder / "same").symlink_to(installed)
    assert find({"ZENHOME": str(folder / "same")}, link).home.path == folder / "same"
