"""The cures are in place before anything of a site is loaded or opened, in every process of ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CURED = """
from ZEO.ClientStorage import ClientStorage
from ZEO.StorageServer import ZEOStorage
from ZODB.Connection import Connection
from ZODB.FileStorage import FileStorage

def is_cured(*methods):
    return all(hasattr(method, "_of_zenwebserver") for method in methods)

in_servers = is_cured(ClientStorage.new_oid, ClientStorage.store, Connection.commit, Connection._store_objects)
print(in_servers, is_cured(FileStorage.new_oid, ZEOStorage.ping))
"""
# Nothing of the site is there: the first that is looked for ends it.
LOADS = {
    "server": "from zenwebserver.worker.application import load; load('{folder}/zope.ini', '{folder}/zope.conf')",
    "zygote": "from zenwebserver.worker.preload import preload; preload('{folder}/zope.ini', '{folder}/zope.conf')",
    "storage": "from zenwebserver.worker.zeo_server import server; server('{folder}/s.conf', serves=id, leaves=id)",
}


@pytest.mark.parametrize(
    ("process", "cured"), [("server", "True False"), ("zygote", "True False"), ("storage", "False True")]
)
def test_they_come_first(process: str, cured: str, tmp_path: Path) -> None:
    program = (
        "from zenwebserver.worker.unopened import Misconfigured\n"
        f"try:\n    {LOADS[process].format(folder=tmp_path)}\nexcept (OSError, Misconfigured):\n    pass\n{CURED}"
    )
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == cured, ran.stderr


def test_nothing_is_imported_that_looks_at_the_environment_which_zope_conf_sets() -> None:
    """Such as CHAMELEON_CACHE, without which each server compiles each template once more; or default_encoding."""
    program = (
        "import sys; from zenwebserver.worker.zodb.guards import guard_server; guard_server()\n"
        "print(*sorted({'chameleon', 'zope.i18n', 'OFS', 'App', 'ZPublisher', 'DateTime'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert ran.stdout == "\n"


def test_those_of_zope_itself_come_when_it_has_opened_the_database() -> None:
    program = (
        "from zenwebserver.worker.zodb.guards import guard_server; guard_server(); guard_server()\n"
        "from OFS.Application import AppInitializer as Initializer\n"
        "from zope.event import notify; from zope.processlifetime import DatabaseOpened, DatabaseOpenedWithRoot\n"
        "def is_cured(): return hasattr(Initializer.install_inituser, '_of_zenwebserver')\n"
        "for event in (DatabaseOpenedWithRoot, DatabaseOpened): notify(event(None)); print(is_cured())\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert ran.stdout.split() == ["False", "True"]


def test_all_of_them_fit_the_installed_zodb_and_zeo() -> None:
    program = (
        "import logging; logging.basicConfig(level='WARNING')\n"
        "from zenwebserver.worker.zodb.guards import guard_server, guard_storage; guard_server(); guard_storage()\n"
        "from zope.event import notify; from zope.processlifetime import DatabaseOpened; notify(DatabaseOpened(None))"
    )
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert ran.stderr == ""
