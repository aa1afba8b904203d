"""A home that somebody else changed before the install, or between it and the uninstall."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from zenoss_home import DAEMONS, Site, do_install, do_uninstall, make_site

from zenwebserver.errors import ZenwebserverError
from zenwebserver.takeover.original import Metadata, write


def test_an_upgrade_that_moved_the_command_moves_the_link(site: Site) -> None:
    before = site.snapshot()
    do_install(site)
    site.command = site.command.rename(site.command.with_name("zenwebserver2"))
    assert not do_install(site).already
    assert (site.home.path / "bin/zenwebserver").readlink() == site.command
    do_uninstall(site)
    assert site.snapshot() == before


def test_a_link_that_the_admin_made_is_used_and_not_removed(site: Site) -> None:
    (site.home.path / "bin/zenwebserver").symlink_to(site.command)
    before = site.snapshot()
    do_install(site)
    do_uninstall(site)
    assert site.snapshot() == before


def test_what_the_admin_edited_since_stays(site: Site) -> None:
    do_install(site)
    daemons = site.home.etc / "daemons.txt"
    daemons.write_bytes(b"zenping\r\n" + daemons.read_bytes())
    site.home.settings_file.write_text("httpPort 80\n")
    notes = do_uninstall(site).notes
    assert daemons.read_bytes() == b"zenping\r\n" + DAEMONS
    assert site.home.settings_file.read_text() == "httpPort 80\n"
    assert "only zenwebserver became zopectl again" in notes[0]
    assert "was edited since" in notes[1]


def test_what_the_admin_put_back_or_removed_by_hand_stays(site: Site) -> None:
    do_install(site)
    (site.home.etc / "daemons.txt").write_bytes(b"zenhub\n")
    (site.home.path / "bin/zenwebserver").unlink()
    (site.home.path / "bin/zenwebserver").write_text("mine")
    notes = do_uninstall(site).notes
    assert (site.home.etc / "daemons.txt").read_bytes() == b"zenhub\n"
    assert (site.home.path / "bin/zenwebserver").read_text() == "mine"
    assert ["does not name zenwebserver any more" in notes[0], "was replaced" in notes[1]] == [True, True]


def test_a_mode_that_the_admin_changed_since_stays(site: Site) -> None:
    do_install(site)
    daemons = site.home.etc / "daemons.txt"
    daemons.chmod(0o600)
    do_uninstall(site)
    assert (daemons.read_bytes(), daemons.stat().st_mode & 0o7777) == (DAEMONS, 0o600)


def test_a_file_that_named_zenwebserver_before_is_left_alone_by_both(tmp_path: Path) -> None:
    site = make_site(tmp_path, daemons=b"zenhub\nzenwebserver\n")
    before = site.snapshot()
    do_install(site)
    assert site.entered == ["Linking bin/zenwebserver"]
    do_uninstall(site)
    assert site.snapshot() == before


def test_a_file_whose_owner_cannot_be_kept_is_left_untouched(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def chown(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    daemons = site.home.etc / "daemons.txt"
    before = site.snapshot()
    metadata = replace(Metadata.of(daemons), uid=54321)
    monkeypatch.setattr(os, "chown", chown)
    with pytest.raises(ZenwebserverError, match="belongs to user 54321"):
        write(daemons, b"other", metadata)
    assert site.snapshot() == before


def test_a_file_in_a_folder_that_configure_made_keeps_the_folder(site: Site) -> None:
    do_install(site)
    (site.home.html / "mine.html").write_text("mine")
    do_uninstall(site)
    assert [path.name for path in site.home.html.iterdir()] == ["mine.html"]
    assert not site.home.nginx_var.exists()


def test_install_after_an_upgrade_of_the_home_switches_again_and_keeps_the_newer_original(site: Site) -> None:
    do_install(site)
    daemons = site.home.etc / "daemons.txt"
    daemons.write_bytes(b"zopectl\nnewer\n")
    assert not do_install(site).already
    assert daemons.read_bytes() == b"zenwebserver\nnewer\n"
    do_uninstall(site)
    assert daemons.read_bytes() == b"zopectl\nnewer\n"
