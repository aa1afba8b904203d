"""Where a home can be."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from zenwebserver.errors import UsageError, ZenwebserverError
from zenwebserver.home import Home


@pytest.fixture
def folder() -> Iterator[Path]:
    """Its path leaves room for those of sockets, as pytest's does not."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.parametrize("below", ["", "deeper/and/deeper"])
@pytest.mark.parametrize("kind", ["file", "link that leads nowhere"])
def test_what_is_no_folder_is_told_before_anything_is_looked_for_in_it(folder: Path, kind: str, below: str) -> None:
    there = folder / "f"
    if kind == "file":
        there.touch()
    else:
        there.symlink_to(folder / "nowhere")
    with pytest.raises(ZenwebserverError, match=f"{there} is no folder"):
        Home.at(there / below)


def test_a_folder_a_link_to_one_and_what_is_not_there_yet_can_be_one(folder: Path) -> None:
    (folder / "link").symlink_to(folder)
    for path in (folder, folder / "link", folder / "new" / "home"):
        assert Home.at(path).path == path


def test_a_home_is_made_in_an_empty_folder_again_where_it_was_cut_off_and_of_a_zope_instance(folder: Path) -> None:
    home = Home.at(folder / "h")
    home.refuse_strangers()
    (home.path / "lost+found").mkdir(parents=True)
    home.refuse_strangers()
    home.make_folders()
    home.refuse_strangers()
    (home.path / "parts").mkdir()
    home.zope_conf.touch()
    home.refuse_strangers()


def test_it_is_not_made_among_what_somebody_else_has_put_there(folder: Path) -> None:
    for name in ("etc", ".profile", "letters"):
        (folder / name).mkdir()
    with pytest.raises(UsageError, match=f"{folder} is no home, no Zope instance and not empty: it holds .profile, l"):
        Home.at(folder).refuse_strangers()


@pytest.mark.parametrize("name", ["it's", 'a"b', "a;b", "a$b", "a{b", "a\\b", "a*", "a\nb", "a[1]", "caf\udce9"])
def test_what_nginx_would_take_for_something_else_is_told_of_the_path_itself(folder: Path, name: str) -> None:
    with pytest.raises(ZenwebserverError, match="The home's path holds") as error:
        Home.at(folder / name)
    assert error.value.hint == "Move the home, or set another ZENHOME."


@pytest.mark.parametrize("name", ["a#b", "a%b"])
def test_nor_can_it_hold_what_pastedeploy_takes_for_something_else(folder: Path, name: str) -> None:
    with pytest.raises(ZenwebserverError, match="nginx, Zope or PasteDeploy would take for something else"):
        Home.at(folder / name)


@pytest.mark.parametrize("name", ["with spaces", "café", "a-b_c.d+e,f@g=h~", "(1)"])
def test_other_characters_are_none_of_that(folder: Path, name: str) -> None:
    assert Home.at(folder / name).path == folder / name
