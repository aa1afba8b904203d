"""A site's Data.fs that is opened by a Python without the site's classes."""

from __future__ import annotations

import os
import subprocess
import sys

from harness import Site, wait_until

# Puts a folder of a class of the module `zwsshop` right below Zope's root, under each name.
PUT = """
import sys, transaction
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
import zwsshop
database = DB(FileStorage(sys.argv[1]))
application = database.open().root()["Application"]
for name in sys.argv[2:]:
    application._setOb(name, zwsshop.Shop(name))
    application._objects = (*application._objects, {"id": name, "meta_type": "Folder"})
transaction.commit()
database.close()
"""


def put(site: Site, *names: str) -> None:
    """Into the database of a site that is not running; its class is gone afterwards."""
    module = site.home / "zwsshop.py"
    module.write_text("from OFS.Folder import Folder\nclass Shop(Folder): pass\n")
    data = site.home / "var" / "filestorage" / "Data.fs"
    environment = {**os.environ, "PYTHONPATH": str(site.home), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", PUT, data, *names], env=environment, check=True)
    module.unlink()


def test_a_site_root_whose_class_is_missing_is_told_and_not_served(site: Site) -> None:
    site.ok("start", "1")
    site.ok("stop")
    put(site, "shop")
    conf = site.home / "etc" / "zenwebserver.conf"
    conf.write_text(f"{conf.read_text()}siteRoot /shop\n")
    said = f"{sys.executable} has not the classes of objects that every visitor needs: /shop (zwsshop.Shop). "
    for command in ("start", "run"):
        ran = site.run(command)
        assert ran.code == 1
        assert said + "Does the setting `python` name the environment" in ran.err, ran
        assert "Traceback" not in ran.err
        assert ran.err.count(said) == 1
    assert ran.out.startswith("http://")
    wait_until(lambda: not site.processes(), "nothing runs")


def test_what_an_add_on_has_left_that_is_gone_is_logged_and_the_site_is_served(site: Site) -> None:
    site.ok("start", "1")
    site.ok("stop")
    put(site, "old")
    site.ok("start")
    assert site.get("/").status == 200
    assert "The class of an object cannot be imported: /old (zwsshop.Shop)" in site.log("zope1")
