from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from AuthEncoding.AuthEncoding import is_encrypted, pw_validate

from zenwebserver.errors import UsageError
from zenwebserver.home import Home
from zenwebserver.machine import files
from zenwebserver.site import create as creation
from zenwebserver.site import zope_conf
from zenwebserver.site.create import create


def inituser(home: Home) -> Path:
    return home.path / "inituser"


def password_hash(home: Home) -> bytes:
    return inituser(home).read_bytes().splitlines()[0].split(b":")[1]


def test_a_new_home_has_a_site_and_its_administrator(home: Home) -> None:
    credentials = create(home)
    assert credentials is not None
    assert credentials.user == "admin"
    assert len(credentials.password) >= 20
    conf = zope_conf.read(home.zope_conf)
    assert conf.instance_home == home.path
    assert conf.data_files == (home.var / "filestorage/Data.fs",)
    assert home.zope_ini.is_file()
    assert (home.etc / "site.zcml").is_file()


def test_the_password_is_stored_only_as_a_hash_that_zope_verifies(home: Home) -> None:
    credentials = create(home, user="root-1")
    assert credentials is not None
    assert credentials.password not in repr(credentials)
    assert inituser(home).read_text().startswith("root-1:{SSHA}")
    assert stat.S_IMODE(inituser(home).stat().st_mode) == 0o600
    assert is_encrypted(password_hash(home))
    assert pw_validate(password_hash(home), credentials.password)
    assert not pw_validate(password_hash(home), credentials.password + "x")
    kept = [path for path in home.path.rglob("*") if path.is_file() and credentials.password in path.read_text()]
    assert kept == []


def test_zope_reads_the_user_from_the_file(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from AccessControl.users import readUserAccessFile

    create(home)
    monkeypatch.setenv("INSTANCE_HOME", str(home.path))
    assert readUserAccessFile("inituser") == ("admin", password_hash(home), [], False)


def test_two_homes_have_different_passwords_and_hashes(home: Home) -> None:
    first = create(home)
    second = create(Home.at(home.path.with_name("other")))
    assert first is not None
    assert second is not None
    assert first.password != second.password


def test_what_is_there_is_not_overwritten(home: Home) -> None:
    create(home)
    home.zope_ini.write_text("mine")
    (home.etc / "site.zcml").write_text("mine")
    edited = home.zope_conf.read_text() + "debug-mode on\n"
    home.zope_conf.write_text(edited)
    create(home)
    assert home.zope_ini.read_text() == "mine"
    assert (home.etc / "site.zcml").read_text() == "mine"
    assert home.zope_conf.read_text() == edited


def test_until_there_is_data_the_password_is_made_anew_since_the_first_was_perhaps_not_seen(
    home: Home,
) -> None:
    create(home)
    credentials = create(home)
    assert credentials is not None
    assert pw_validate(password_hash(home), credentials.password)


def test_a_site_with_data_gets_no_administrator(home: Home) -> None:
    create(home)
    before = inituser(home).read_bytes()
    (home.var / "filestorage/Data.fs").touch()
    assert create(home) is None
    assert inituser(home).read_bytes() == before
    inituser(home).unlink()
    assert create(home) is None
    assert not inituser(home).exists()


@pytest.mark.parametrize("content", [b"me:secret\n", b"me:gehe\xefmnis\n"])
def test_an_inituser_of_the_admins_own_stays(home: Home, content: bytes) -> None:
    home.make_folders()
    inituser(home).write_bytes(content)
    assert create(home) is None
    assert inituser(home).read_bytes() == content


@pytest.mark.parametrize(
    "conf",
    [
        "instancehome {elsewhere}\n<zodb_db main>\n<filestorage>\npath x\n</filestorage>\n</zodb_db>\n",
        "instancehome {home}\n<zodb_db main>\n<relstorage>\n</relstorage>\n</zodb_db>\n",
    ],
)
def test_a_site_that_keeps_its_data_elsewhere_gets_no_administrator(home: Home, conf: str) -> None:
    home.make_folders()
    home.zope_conf.write_text(conf.format(home=home.path, elsewhere=home.path.parent))
    assert create(home) is None
    assert not inituser(home).exists()


def test_interrupted_at_any_file_it_is_finished_the_next_time(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    written = 0

    def replace(path: Path, text: str, *, mode: int = 0o644, keep_previous: bool = False) -> None:
        nonlocal written
        if written == survives:
            raise KeyboardInterrupt
        written += 1
        real(path, text, mode=mode, keep_previous=keep_previous)

    real = files.replace
    monkeypatch.setattr(creation.files, "replace", replace)
    for survives in range(4):
        this = Home.at(home.path / str(survives))
        written = 0
        with pytest.raises(KeyboardInterrupt):
            create(this)
        monkeypatch.setattr(creation.files, "replace", real)
        credentials = create(this)
        monkeypatch.setattr(creation.files, "replace", replace)
        assert credentials is not None
        assert pw_validate(password_hash(this), credentials.password)
        assert zope_conf.read(this.zope_conf).data_files
        assert (this.var / "filestorage").is_dir()


def test_a_user_name_that_would_break_the_file_is_refused_and_nothing_is_made(home: Home) -> None:
    with pytest.raises(UsageError, match="a:b"):
        create(home, user="a:b")
    assert not home.path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")
def test_made_by_root_everything_is_the_owners_of_the_home(home: Home) -> None:
    home.path.mkdir()
    os.chown(home.path, 12345, 12346)
    create(home)
    assert {(path.stat().st_uid, path.stat().st_gid) for path in home.path.rglob("*")} == {(12345, 12346)}


def test_a_home_may_stand_on_an_odd_path(home: Home) -> None:
    odd = Home.at(home.path / "a b, c+d (é)")
    create(odd)
    assert zope_conf.read(odd.zope_conf).instance_home == odd.path


def test_nothing_in_a_new_home_says_where_it_stands(home: Home) -> None:
    create(home)
    told = [path for path in home.path.rglob("*") if path.is_file() and str(home.path) in path.read_text()]
    assert told == []
    moved = Home.at(home.path.rename(home.path.with_name("moved")))
    assert zope_conf.read(moved.zope_conf).data_files == (moved.var / "filestorage/Data.fs",)
    assert create(moved), "it still lacks its administrator"
