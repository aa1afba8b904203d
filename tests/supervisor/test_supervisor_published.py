"""nginx's generated files and the admin's template: damaged ones are told, and stop no more than they must."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.machine import files
from zenwebserver.nginx import config
from zenwebserver.nginx.config import PoolServer
from zenwebserver.settings import Settings, parse
from zenwebserver.supervisor import candidates, published
from zenwebserver.supervisor.operations.init import refresh_shipped_files
from zenwebserver.supervisor.parts.loadbalancer import LoadBalancer
from zenwebserver.supervisor.publisher import Publisher
from zenwebserver.supervisor.tasks import Tasks

SERVERS = [PoolServer(1, "127.0.0.1", 9081), PoolServer(2, "127.0.0.1", 9082)]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.make_folders()
    refresh_shipped_files(home)
    files.replace(home.settings_file, "httpAddress 127.0.0.1\nhttpPort 18999\n")
    return home


def configured(home: Home) -> Settings:
    """nginx.conf and the pool's file as `configure` writes them."""
    settings = published.read_settings(home)
    candidate = asyncio.run(published.verified(home, settings, SERVERS[:1]))
    files.replace(home.nginx_pool_conf, candidate.pool_conf)
    files.replace(home.nginx_conf, candidate.nginx_conf)
    return settings


async def put_pool(home: Home, settings: Settings, servers: list[PoolServer]) -> str:
    """Where nginx does not run. Returns the pool's file."""
    balancer = LoadBalancer(home, Tasks())
    try:
        await Publisher(home, balancer).put_pool(settings, servers)
    finally:
        balancer.names.close()
    return home.nginx_pool_conf.read_text()


def damage(path: Path) -> bytes:
    """One Latin-1 byte in the comment of a last line."""
    content = path.read_bytes() + b"# caf\xe9\n"
    path.write_bytes(content)
    return content


@pytest.mark.real
def test_a_template_that_is_no_text_is_told_with_its_line_and_stays(home: Home) -> None:
    damaged = damage(home.nginx_template)
    where = f"{home.nginx_template} is not UTF-8: line {len(damaged.splitlines())}, byte 0xe9"
    with pytest.raises(ZenwebserverError) as caught:
        published.read_settings(home)
    assert caught.value.message == where
    with pytest.raises(ZenwebserverError) as caught:
        asyncio.run(published.verified(home, parse("", home.path), SERVERS))
    assert caught.value.message == where
    refresh_shipped_files(home)
    assert home.nginx_template.read_bytes() == damaged


def test_a_template_that_cannot_be_read_is_told(home: Home) -> None:
    home.nginx_template.unlink()
    home.nginx_template.mkdir()
    with pytest.raises(ZenwebserverError, match=r"nginx\.conf\.template cannot be read: Is a directory"):
        published.read_settings(home)


def test_a_template_is_the_admins_once_it_was_edited(home: Home) -> None:
    shipped = config.shipped_template()
    home.nginx_template.unlink()
    refresh_shipped_files(home)
    assert home.nginx_template.read_text() == shipped
    home.nginx_template.write_text(edited := shipped + "# mine\n")
    refresh_shipped_files(home)
    assert home.nginx_template.read_text() == edited


@pytest.mark.real
def test_nginx_conf_that_is_no_text_stops_no_change_of_the_pool(home: Home) -> None:
    """nginx itself takes any byte in a comment."""
    settings = configured(home)
    damaged = damage(home.nginx_conf)
    assert "127.0.0.1:9082" in asyncio.run(put_pool(home, settings, SERVERS))
    assert home.nginx_conf.read_bytes() == damaged
    assert not asyncio.run(published.is_current(home, settings))
    asyncio.run(published.verify_in_place(home, settings))


@pytest.mark.real
def test_a_damaged_file_of_the_pool_is_written_anew(home: Home) -> None:
    settings = configured(home)
    damage(home.nginx_pool_conf)
    text = asyncio.run(put_pool(home, settings, SERVERS[:1]))
    assert "server 127.0.0.1:9081 max_fails=0;" in text
    assert text.endswith("}\n")


@pytest.mark.real
def test_nginx_goes_on_being_asked_when_its_folders_were_removed(home: Home) -> None:
    settings = configured(home)
    assert asyncio.run(published.is_current(home, settings))
    for ask in (
        lambda: put_pool(home, settings, SERVERS),
        lambda: published.verify_in_place(home, settings),
    ):
        shutil.rmtree(home.log)
        shutil.rmtree(home.nginx_var)
        asyncio.run(ask())


def test_zope_ini_that_is_no_text_is_told_before_zope_reads_it(home: Home) -> None:
    home.zope_conf.write_text(f"instancehome {home.path}\n")
    with pytest.raises(ZenwebserverError, match=r"zope\.ini cannot be read: No such file"):
        asyncio.run(published.verify_site(home, parse("", home.path)))
    home.zope_ini.write_bytes(b"[app:zope]\n# caf\xe9\n")
    with pytest.raises(ZenwebserverError, match=r"zope\.ini is not UTF-8: line 2, byte 0xe9"):
        asyncio.run(published.verify_site(home, parse("", home.path)))


def test_a_zope_conf_that_imports_what_does_not_end_is_told_and_nothing_of_it_goes_on(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.zope_conf.write_text(f"instancehome {home.path}\n")
    home.zope_ini.write_text("[app:zope]\nuse = egg:Zope#main\n")
    monkeypatch.setattr(published, "VERIFY_SITE_SECONDS", 0.3)
    program = f"import os, time; open({str(home.path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    monkeypatch.setattr(published.launch, "check_arguments", lambda *_: [sys.executable, "-c", program])
    with pytest.raises(ZenwebserverError, match=r"Zope did not read .* within 0\.3 s"):
        asyncio.run(published.verify_site(home, parse("", home.path)))
    if (home.path / "pid").exists():
        assert not Path(f"/proc/{(home.path / 'pid').read_text()}").exists()
    assert list(home.etc.glob(".verify*")) == []


def test_what_killed_supervisors_left_is_swept_and_what_is_anybody_elses_stays(home: Home) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from zenwebserver.home import Home;"
        "from zenwebserver.machine import files; from zenwebserver.supervisor import candidates, published;"
        "home = Home(Path(sys.argv[1])); held = candidates.folder_beside(home); folder = held.__enter__();"
        "(folder / 'nginx.conf').touch();"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL);"
        "files.replace(home.pool_folder / 'zope1.conf', 'new')"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(home.path)])
    assert ended.returncode == -signal.SIGKILL
    now = {path for folder in (home.etc, home.pool_folder) for path in folder.glob(".*")}
    assert {path.parent for path in now} == {home.etc, home.pool_folder}
    for folder in (home.path, home.etc, home.pool_folder, home.run, home.html):
        (unfinished := folder / f".name.abcdefgh{files.MARK}").touch()
        now.add(unfinished)

    former = [home.etc / ".verify-a_1b2c3d", home.etc / ".nginx.conf.prev.new", home.etc / ".nginx-zope.conf.prev.new"]
    names = (".zope12.conf", ".zoperun.conf", ".storage.conf", ".release3.conf", ".pool.json")
    former += [home.pool_folder / f"{name}.abcd_123" for name in names]
    former[0].mkdir()
    kept = [home.etc / ".verify-mine", home.etc / ".verify-abcdefgh", home.etc / ".storage.conf.abcd_123"]
    names = (".zope.conf.abcdefgh", ".storage.conf.swp", ".zope1.conf.backup123", "pool.json", ".pool.json.ABCDEFGH")
    kept += [home.pool_folder / name for name in names]
    kept[0].mkdir()
    kept[1].symlink_to(kept[0])
    for path in (*former[1:], *kept[2:]):
        path.write_text("kept")
    everything = set(home.path.rglob("*"))

    inside = next(path for path in now if path.is_dir()) / "nginx.conf"
    assert set(candidates.sweep(home)) == {*now, *former}
    assert everything - set(home.path.rglob("*")) == {*now, inside, *former}
    assert candidates.sweep(home) == []


@pytest.mark.real
def test_nginxs_words_name_the_real_files_and_the_line_that_it_means(home: Home) -> None:
    settings = configured(home)
    nginx_conf = home.nginx_conf.read_text()
    home.nginx_conf.write_text(f"frobnicate on;\n{nginx_conf}")
    with pytest.raises(ZenwebserverError) as caught:
        asyncio.run(published.verify_pool(home, settings, home.nginx_pool_conf.read_text()))
    assert f'unknown directive "frobnicate" in {home.nginx_conf}:1' in caught.value.detail
    assert caught.value.detail.endswith(f"\n{home.nginx_conf}:1: frobnicate on;")
    assert files.MARK not in str(caught.value.detail)

    home.nginx_template.write_text(home.nginx_template.read_text().replace("http {", "http {\n    frobnicate on;", 1))
    with pytest.raises(ZenwebserverError) as caught:
        asyncio.run(published.verified(home, settings, SERVERS))
    assert caught.value.detail.endswith(": frobnicate on;")
    assert files.MARK not in str(caught.value.detail)
    assert f"comes of {home.nginx_template}" in caught.value.hint


def test_zopes_words_name_the_real_file_and_its_line(home: Home) -> None:
    """Zope was given a copy, which has other lines before it."""
    original = home.zope_conf
    original.write_text("%define A b\ncache-size many\ntwice\ntwice\n")
    candidate = home.etc / ".verify-abcdefgh" / "zope.conf"
    text = "# Generated\n%import ZEO\n%define A b\ncache-size many\ntwice\ntwice\nclienthome /x\n"

    def told(words: str) -> str:
        return candidates.in_words_of_zope_conf(words, candidate, text, original)

    assert told(f"{candidate}: bad: 'many' (line 4, in file://{candidate})") == (
        f"{original}: bad: 'many' (line 2, in {original})"
    )
    assert told("line 5") == "the line `twice`"
    assert told("line 7") == "the line `clienthome /x`"


@pytest.mark.real
def test_a_program_that_is_no_nginx_is_told_before_it_verifies_anything(home: Home) -> None:
    settings = dataclasses.replace(configured(home), nginx=home.path)
    with pytest.raises(ZenwebserverError, match="The nginx program is a folder"):
        asyncio.run(published.verify_in_place(home, settings))


def test_a_candidate_that_cannot_be_written_is_told_by_its_folder(home: Home) -> None:
    shutil.rmtree(home.etc)
    with pytest.raises(OSError, match="No such file") as caught, candidates.folder_beside(home):
        pass
    assert caught.value.filename == str(home.etc)
    home.make_folders()
    with pytest.raises(OSError, match="No space") as caught, candidates.folder_beside(home):
        Path("/dev/full").write_text("x")
    assert caught.value.filename == str(home.etc)
    assert list(home.etc.glob(".*")) == []
