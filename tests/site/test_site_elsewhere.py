"""Which lines of a home's files lead into another home, and which ordinary layouts do not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from zenwebserver.home import Home
from zenwebserver.site.create import create
from zenwebserver.site.elsewhere import leads

ABSOLUTE = "%define INSTANCE {home}\n"


def make(home: Home) -> Home:
    create(home)
    home.settings_file.write_text("httpPort 8080\n")
    return home


def make_absolute(home: Home) -> None:
    """As earlier versions of `init` made it."""
    text = home.zope_conf.read_text().replace("$(ZENHOME)", str(home.path).replace("$", "$$"))
    home.zope_conf.write_text(text)


@pytest.fixture
def other(home: Home) -> Home:
    return make(Home.at(home.path.with_name("other one")))


def told(home: Home, former: Path | None = None) -> list[str]:
    return list(map(str, leads(home, former)))


def line_of(path: Path, words: str) -> int:
    return next(number for number, line in enumerate(path.read_text().split("\n"), 1) if words in line)


def test_a_new_home_leads_nowhere_else_wherever_it_stands(home: Home, other: Home) -> None:
    make(home)
    assert told(home) == []
    copy = home.path.with_name("copy")
    shutil.copytree(home.path, copy)
    assert told(Home.at(copy), former=home.path) == []
    link = home.path.with_name("link")
    link.symlink_to(home.path)
    make_absolute(home)
    assert told(home) == told(Home.at(link)) == []


def test_a_copy_of_an_earlier_versions_home_is_told_by_the_line_that_names_the_original(home: Home) -> None:
    make(home)
    make_absolute(home)
    copy = Home.at(home.path.with_name("copy"))
    shutil.copytree(home.path, copy.path)
    line = line_of(copy.zope_conf, "%define INSTANCE")
    assert told(copy) == [f"{copy.zope_conf}, line {line}: {home.path} leads into another home, {home.path}"]


def test_a_moved_one_too_though_nothing_is_left_at_its_former_place(home: Home) -> None:
    make(home)
    make_absolute(home)
    moved = Home.at(home.path.rename(home.path.with_name("moved")))
    line = line_of(moved.zope_conf, "%define INSTANCE")
    known = f"{moved.zope_conf}, line {line}: {home.path} leads to where this home was before"
    assert told(moved, former=home.path) == [known]
    line = line_of(moved.zope_conf, "instancehome")
    assert told(moved) == [f"{moved.zope_conf}, line {line}: {home.path} is not there"]


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("etc/zenwebserver.conf", "python {other}/venv/bin/python"),
        ("etc/zenwebserver.conf", "sslKey {other}/etc/ssl/zenoss.key"),
        ("etc/zope.ini", "args = ('{other}/log/event.log', 'a')"),
        ("etc/site.zcml", '<include file="{other}/etc/more.zcml" />'),
        ("etc/zope.conf", "%define DATA {other}/var"),
        ("etc/zope.conf", "<eventlog>\n<logfile>\npath {other}/log/x.log\n</logfile>\n</eventlog>"),
        ("etc/zope.conf", "<environment>\nPYTHONPATH /srv/code:{other}/lib\n</environment>"),
    ],
)
def test_every_file_of_the_home_is_looked_through(home: Home, other: Home, file: str, line: str) -> None:
    make(home)
    path = home.path / file
    with path.open("a") as end:
        end.write(f"# {other.path}\n{line.format(other=other.path)}\n")
    number = len(path.read_text().split("\n")) - 1 - (2 if "eventlog" in line else 1 if "environment" in line else 0)
    [lead] = told(home)
    assert lead.startswith(f"{path}, line {number}: /")
    assert lead.endswith(f" leads into another home, {other.path}")


def test_an_included_file_and_a_composed_path_are_looked_at_too(home: Home, other: Home) -> None:
    make(home)
    (other.etc / "common.conf").write_text("http-realm x\n")
    above = home.path.parent
    with home.zope_conf.open("a") as end:
        end.write(f"%define ABOVE {above}\n%include {other.etc}/common.conf\nlocale $ABOVE/other one/x\n")
    first = line_of(home.zope_conf, "%include")
    assert told(home) == [
        f"{home.zope_conf}, line {first}: {other.etc}/common.conf leads into another home, {other.path}",
        f"{home.zope_conf}, line {first + 1}: {above}/other one/x leads into another home, {other.path}",
    ]


def test_a_path_of_the_home_that_goes_over_a_link_of_its_own_is_followed_too(home: Home, other: Home) -> None:
    make(home)
    (home.path / "data").symlink_to(other.var / "filestorage")
    path = "$(ZENHOME)/data/Data.fs"
    home.zope_conf.write_text(home.zope_conf.read_text().replace("$INSTANCE/var/filestorage/Data.fs", path))
    line = line_of(home.zope_conf, path)
    found = f"{home.path}/data/Data.fs leads into another home, {other.path}"
    assert told(home) == [f"{home.zope_conf}, line {line}: {found}"]


def test_a_link_in_the_home_is_followed(home: Home, other: Home) -> None:
    make(home)
    shutil.rmtree(home.var)
    home.var.symlink_to(other.var)
    assert f"{home.var}, a link to {other.var}, leads into another home, {other.path}" in told(home)


@pytest.mark.parametrize(
    "text",
    [
        # The instance of a Plone buildout, with its data elsewhere.
        "%define INSTANCE /opt/plone/parts/instance\ninstancehome {instance}\nclienthome /opt/plone/var/instance\n"
        "<zodb_db main>\nmount-point /\n<blobstorage>\nblob-dir /data/blobs\n"
        "<filestorage>\npath /data/Data.fs\n</filestorage>\n</blobstorage>\n</zodb_db>\n",
        # Blobs that two homes share on purpose.
        "instancehome {home}\n<zodb_db main>\nmount-point /\n<zeoclient>\nserver zeo.example.org:8100\n"
        "blob-dir {other}/var/blobstorage\nshared-blob-dir on\n</zeoclient>\n</zodb_db>\n",
    ],
    ids=["buildout", "shared blobs"],
)
def test_ordinary_layouts_are_none_of_that(home: Home, other: Home, text: str) -> None:
    make(home)
    instance = home.path.with_name("instance")
    instance.mkdir()
    home.zope_conf.write_text(text.format(instance=instance, home=home.path, other=other.path))
    assert told(home) == []


def test_a_file_that_cannot_be_read_is_somebody_elses_to_tell(home: Home) -> None:
    make(home)
    home.zope_conf.write_text("<zodb_db\n")
    home.zope_ini.write_bytes(b"\xe9")
    assert told(home) == []
