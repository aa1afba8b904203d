"""A site that is opened by a Python without its classes: what is found of it, in a real Data.fs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import transaction
from OFS.Application import Application
from OFS.Folder import Folder
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from Zope2.App.ClassFactory import ClassFactory

from zenwebserver.worker import missing
from zenwebserver.worker.missing import ClassesMissing, check

MODULE = "zws_shop"
Opened = Callable[..., Any]


def with_module() -> type:
    """A class that can be imported as long as its module is there."""
    module = ModuleType(MODULE)
    sys.modules[MODULE] = module
    exec("from OFS.Folder import Folder\nclass Shop(Folder): pass\n", module.__dict__)
    shop: type = module.__dict__["Shop"]
    return shop


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    """Stores objects, whose classes are Folder or that of the module, by their paths; opens the database without it."""
    databases = []

    def store(**kinds: str) -> Any:
        shop = with_module()
        database = DB(FileStorage(str(tmp_path / "Data.fs")))
        connection = database.open()
        application = connection.root()["Application"] = Application()
        for path, kind in kinds.items():
            *above, name = path.split("__")
            folder = application
            for each in above:
                folder = folder._getOb(each)
            folder._setOb(name, (shop if kind == "shop" else Folder)(name))
            folder._objects = (*folder._objects, {"id": name, "meta_type": "Folder"})
        transaction.commit()
        connection.close()
        database.close()
        del sys.modules[MODULE]
        database = DB(FileStorage(str(tmp_path / "Data.fs")))
        database.classFactory = ClassFactory
        databases.append(database)
        return database.open()

    yield store
    transaction.abort()
    for database in databases:
        database.close()
    sys.modules.pop(MODULE, None)


def test_a_site_whose_classes_are_here_is_well(opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    connection = opened(a="folder", a__b="folder", a__acl="folder")
    for site_root in ("", "/a", "/a/b", "a/b/"):
        check(connection, site_root)
    assert caplog.records == []
    for site_root in ("/not/made/yet", "/a/c", "/getPhysicalPath/x"):
        check(connection, site_root)
        assert caplog.messages[-1].startswith(f"There is no {site_root} in the database")


@pytest.mark.parametrize(
    ("kinds", "site_root", "path"),
    [
        ({"a": "shop"}, "/a", "/a"),
        ({"a": "shop"}, "/a/b", "/a"),
        ({"a": "folder", "a__b": "shop"}, "/a/b", "/a/b"),
        ({"acl_users": "shop"}, "", "/acl_users"),
        ({"a": "folder", "acl_users": "shop"}, "/a", "/acl_users"),
        ({"a": "folder", "a__acl_users": "shop"}, "/a", "/a/acl_users"),
    ],
    ids=str,
)
def test_one_on_the_way_of_every_visitor_is_named_with_its_class_and_the_setting(
    opened: Opened, kinds: dict[str, str], site_root: str, path: str
) -> None:
    with pytest.raises(ClassesMissing) as refused:
        check(opened(**kinds), site_root)
    said = str(refused.value)
    assert said.startswith(f"{sys.executable} has not the classes of objects that every visitor needs: ")
    assert f": {path} ({MODULE}.Shop). Does the setting `python` name" in said


def test_all_of_them_are_named(opened: Opened) -> None:
    with pytest.raises(ClassesMissing, match=rf"/acl_users \({MODULE}.Shop\), /a \({MODULE}.Shop\)\."):
        check(opened(a="shop", acl_users="shop"), "/a")


def test_others_are_logged_and_served_around(opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    connection = opened(a="folder", a__old="shop", old="shop", b="folder", b__deep="shop")
    with caplog.at_level(logging.WARNING, logger=missing.__name__):
        check(connection, "/a")
    said = [record.getMessage() for record in caplog.records if record.name == missing.__name__]
    assert said == [
        f"The class of an object cannot be imported: /old ({MODULE}.Shop)",
        f"The class of an object cannot be imported: /a/old ({MODULE}.Shop)",
    ]
