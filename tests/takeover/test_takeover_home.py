"""Install and uninstall in a real home."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from zenoss_home import DAEMONS, SCRIPT, Site, do_install, do_uninstall, make_site

from zenwebserver.errors import UsageError, ZenwebserverError
from zenwebserver.takeover import install, is_installed, uninstall


def test_install_makes_zenwebserver_the_control_script_and_stops_the_former_server(site: Site) -> None:
    site.zopectl("start")
    done = do_install(site)
    daemons, link = site.home.etc / "daemons.txt", site.home.path / "bin/zenwebserver"
    assert daemons.read_bytes() == DAEMONS.replace(b"zopectl", b"zenwebserver")
    assert daemons.stat().st_mode & 0o7777 == 0o664
    assert (site.home.path / "bin/zenoss").read_bytes() == SCRIPT
    assert link.readlink() == site.command
    assert site.zopectl("status") == "daemon manager not running"
    assert (done.place, done.already, done.notes) == (daemons, False, ())
    assert site.entered == ["Linking bin/zenwebserver", "Switching etc/daemons.txt", "Stopping bin/zopectl"]
    assert is_installed(site.home)


def test_install_twice_changes_nothing_the_second_time(site: Site) -> None:
    do_install(site)
    before, site.entered = site.snapshot(), []
    assert do_install(site).already
    assert (site.snapshot(), site.entered) == (before, [])


@pytest.mark.parametrize("daemons", [DAEMONS, None, b"zenhub\n"])
def test_uninstall_puts_every_byte_mode_and_time_back(tmp_path: Path, daemons: bytes | None) -> None:
    site = make_site(tmp_path, daemons=daemons)
    before = site.snapshot()
    do_install(site)
    assert site.snapshot() != before
    done = do_uninstall(site)
    assert not done.already
    assert done.notes == (f"Nothing was started in its place: `{site.home.path}/bin/zopectl start` does that.",)
    assert site.snapshot() == before
    assert do_uninstall(site).already
    assert site.snapshot() == before


def test_without_daemons_txt_the_start_up_script_is_switched(tmp_path: Path) -> None:
    site = make_site(tmp_path, daemons=None)
    done = do_install(site)
    assert done.place == site.home.path / "bin/zenoss"
    assert done.place.read_bytes() == SCRIPT.replace(b"bin/zopectl", b"bin/zenwebserver")
    assert done.place.stat().st_mode & 0o7777 == 0o750


def test_a_start_up_script_elsewhere_is_switched_and_put_back(tmp_path: Path) -> None:
    site = make_site(tmp_path, daemons=None, script=None)
    script = tmp_path / "rc.zope"
    script.write_bytes(SCRIPT)
    do_install(site, script=script)
    assert b"bin/zenwebserver" in script.read_bytes()
    assert do_install(site).already
    do_uninstall(site)
    assert script.read_bytes() == SCRIPT


def test_a_home_where_nothing_starts_zopectl_is_left_alone_and_the_error_names_what_was_looked_for(
    tmp_path: Path,
) -> None:
    site = make_site(tmp_path, daemons=None, script=b"#! /bin/bash\necho zopectl\n")
    before = site.snapshot()
    with pytest.raises(ZenwebserverError) as caught:
        do_install(site)
    assert f"{site.home.etc}/daemons.txt (no such file)" in caught.value.message
    assert f"a call of `zopectl` in {site.home.path}/bin/zenoss (none there)" in caught.value.message
    assert "--startup-script" in caught.value.hint
    assert site.snapshot() == before


def test_a_custom_load_balancer_is_left_alone_and_its_servers_are_named(tmp_path: Path) -> None:
    site = make_site(tmp_path, daemons=b"zopectl\nzopectl2\nzenhub\n")
    before = site.snapshot()
    with pytest.raises(ZenwebserverError) as caught:
        do_install(site)
    assert "zopectl (line 1), zopectl2 (line 2)" in caught.value.message
    assert "By hand:" in caught.value.hint
    assert "--force" in caught.value.hint
    assert site.snapshot() == before


def test_force_switches_a_custom_load_balancer_names_what_stays_and_is_undone(tmp_path: Path) -> None:
    site = make_site(tmp_path, daemons=b"zope1ctl\nzope2ctl\n")
    before = site.snapshot()
    done = do_install(site, force=True)
    assert (site.home.etc / "daemons.txt").read_bytes() == b"zenwebserver\nzope2ctl\n"
    assert "zope2ctl (line 2)" in done.notes[0]
    again = do_install(site)
    assert (again.already, again.notes) == (True, done.notes)
    do_uninstall(site)
    assert site.snapshot() == before


@pytest.mark.parametrize("what", ["file", "folder", "link", "dangling link"])
def test_something_of_somebody_elses_at_bin_zenwebserver_is_an_error_and_nothing_changes(site: Site, what: str) -> None:
    link = site.home.path / "bin/zenwebserver"
    if what == "file":
        link.write_text("mine")
    elif what == "folder":
        link.mkdir()
    else:
        link.symlink_to("zopectl" if what == "link" else "nowhere")
    before = site.snapshot()
    with pytest.raises(ZenwebserverError, match="did not make"):
        do_install(site)
    assert site.snapshot() == before


def test_a_linked_daemons_txt_stays_a_link(site: Site, tmp_path: Path) -> None:
    link, real = site.home.etc / "daemons.txt", tmp_path / "shared.txt"
    link.rename(real)
    link.symlink_to(real)
    before = (site.snapshot(), real.stat().st_mtime_ns)
    do_install(site)
    assert link.readlink() == real
    assert real.read_bytes() == DAEMONS.replace(b"zopectl", b"zenwebserver")
    do_uninstall(site)
    assert (site.snapshot(), real.stat().st_mtime_ns) == before
    assert real.read_bytes() == DAEMONS
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shared.txt", "venv", "zenhome"]


def test_uninstall_in_a_home_never_installed_says_so_and_stops_nothing(site: Site) -> None:
    before = site.snapshot()
    stopped: list[bool] = []
    done = uninstall(site.home, steps=site.steps, stop_pool=lambda: stopped.append(True))
    assert done.already
    assert "not installed" in done.notes[0]
    assert (site.snapshot(), site.entered, stopped) == (before, [], [])


def test_uninstall_stops_the_pool_before_anything_is_put_back(site: Site) -> None:
    do_install(site)
    site.entered = []
    uninstall(site.home, steps=site.steps, stop_pool=lambda: site.entered.append("pool"))
    assert site.entered[:3] == ["pool", "Putting back etc/daemons.txt", "Removing bin/zenwebserver"]


def test_a_home_without_var_and_bin_gets_them_and_loses_them_again(tmp_path: Path) -> None:
    site = make_site(tmp_path, script=None)
    (site.home.path / "bin/zopectl").unlink()
    (site.home.path / "bin").rmdir()
    site.home.var.rmdir()
    before = site.snapshot()
    do_install(site)
    assert do_install(site).already
    do_uninstall(site)
    assert site.snapshot() == before


def test_a_second_install_at_the_same_time_is_refused(site: Site) -> None:
    def configure() -> None:
        with pytest.raises(ZenwebserverError, match="Another install"):
            do_install(site)

    install(site.home, command=site.command, steps=site.steps, configure=configure)


def test_a_missing_home_and_a_missing_command_are_said_plainly(site: Site, tmp_path: Path) -> None:
    with pytest.raises(ZenwebserverError, match="not the absolute path"):
        install(site.home, command=tmp_path / "none", steps=site.steps)
    with pytest.raises(UsageError, match="There is no home"):
        uninstall(type(site.home).at(tmp_path / "none"), steps=site.steps)


def test_a_damaged_record_is_said_and_nothing_is_changed(site: Site) -> None:
    do_install(site)
    (site.home.var / "zenwebserver-install/record.json").write_text("{")
    before = site.snapshot()
    with pytest.raises(ZenwebserverError, match="cannot be read"):
        do_uninstall(site)
    assert site.snapshot() == before


def test_what_the_system_refuses_is_said_without_a_traceback(site: Site) -> None:
    def configure() -> None:
        raise PermissionError(13, "Permission denied", "/somewhere")

    with pytest.raises(ZenwebserverError, match="/somewhere: Permission denied"):
        install(site.home, command=site.command, steps=site.steps, configure=configure)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes owners")
def test_in_a_users_home_root_leaves_everything_with_that_user() -> None:
    user = 12345
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to other users
        Path(folder).chmod(0o755)
        site = make_site(Path(folder))
        paths = [site.home.path, *site.home.path.rglob("*")]
        for path in paths:
            os.chown(path, user, user)
        zopectl = site.home.path / "bin/zopectl"
        zopectl.write_text('#! /bin/bash\nid -u >>"$ZENHOME/var/users"; exit 1\n')
        (site.home.var / "users").touch()
        os.chown(site.home.var / "users", user, user)
        install(site.home, command=site.command, steps=site.steps)
        assert {path.lstat().st_uid for path in site.home.path.rglob("*")} == {user}
        assert (site.home.var / "users").read_text() == f"{user}\n"
        uninstall(site.home, steps=site.steps)
        assert sorted(site.home.path.rglob("*")) == sorted([*paths[1:], site.home.var / "users"])
        assert {path.lstat().st_uid for path in site.home.path.rglob("*")} == {user}
