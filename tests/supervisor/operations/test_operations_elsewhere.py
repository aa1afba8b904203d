"""A home that leads into another one is not started before somebody has said that this is meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_site import FakeSite

from zenwebserver.home import Home

CHANGES = [("start", {}), ("restart", {}), ("deploy", {"size": "2"}), ("configure", {})]


@pytest.fixture
def other(site: FakeSite) -> Path:
    """Another home, and a line of the site's that leads into it."""
    other = Home(site.home.path.with_name("other"))
    other.etc.mkdir(parents=True)
    other.settings_file.touch()
    with site.home.zope_conf.open("a") as conf:
        conf.write(f"locale {other.path}/locales\n")
    return other.path


async def test_nothing_is_started_or_written_and_the_line_is_named(site: FakeSite, other: Path) -> None:
    line = site.home.zope_conf.read_text().count("\n")
    before = sorted(site.home.path.rglob("*"))
    for name, what in CHANGES:
        asked = await site.do(name, **what)
        assert asked.exit == 2
        said = f"{site.home.zope_conf}, line {line}: {other}/locales leads into another home, {other}"
        assert asked.error == said
        assert "add --force" in asked.last["hint"]
    assert sorted(site.home.path.rglob("*")) == before
    assert site.supervisor.idle
    await site.end()


async def test_verify_tells_it_too_and_which_command_takes_force(site: FakeSite, other: Path) -> None:
    asked = await site.do("verify")
    assert asked.exit == 2
    assert f"{other}/locales leads into another home, {other}" in asked.error
    assert "add --force to `zenwebserver start`" in asked.last["hint"]
    await site.end()


async def test_what_is_accepted_is_remembered_and_what_comes_later_is_not(site: FakeSite, other: Path) -> None:
    accepted = await site.ok("accept")
    assert len(accepted.notes) == 1
    await site.supervisor_dies()
    await site.started(1)
    await site.ok("configure")
    with site.home.zope_conf.open("a") as conf:
        conf.write(f"clienthome {other}/var\n")
    asked = await site.do("restart")
    assert f"{other}/var leads into another home" in asked.error
    assert asked.last["detail"] == ""
    await site.ok("detach", targets=["1"], force=True)
    await site.ok("attach", targets=["1"])
    await site.end()


async def test_what_was_meant_where_the_home_stood_before_is_asked_for_again(site: FakeSite, other: Path) -> None:
    await site.ok("accept")
    record = site.home.accepted_paths
    record.write_text(record.read_text().replace(str(site.home.path), "/srv/original"))
    assert (await site.do("start")).exit == 2
    for text in ("", "[]", '{"home": 1}', "\0"):
        record.write_text(text)
        assert (await site.do("start")).exit == 2
    await site.end()
