"""The sites that are measured: a bare Zope and a Plone, each with its storage running and no server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import Site

HERE = Path(__file__).parent
PLONE_PYTHON = HERE.parent / ".venv-plone" / "bin" / "python"  # make bench-warm makes it
MAKE_PLONE = HERE.parent / "tests" / "plone" / "make_plone.py"


@dataclass(frozen=True)
class Page:
    path: str
    admin: bool = False


@dataclass(frozen=True)
class Measured:
    """A site, the Python that it is installed for, and what its visitors ask for: the pages in turn."""

    name: str
    site: Site
    python: Path
    pages: tuple[Page, ...]


ZOPE_PAGES = (
    Page("/"),
    Page("/manage_main", admin=True),
    Page("/acl_users/manage_main", admin=True),
    Page("/manage_addProduct/OFSP/folderAdd", admin=True),
)

# Seven visitors to one editor.
PLONE_PAGES = (
    Page("/Plone"),
    Page("/Plone/sitemap"),
    Page("/Plone/@@search?SearchableText=plone"),
    Page("/Plone"),
    Page("/Plone/contact-info"),
    Page("/Plone"),
    Page("/Plone/login"),
    Page("/Plone/folder_contents", admin=True),
)


@contextmanager
def zope() -> Iterator[Measured]:
    site = Site(warmupPaths="")
    try:
        site.init().use(str(HERE / "site")).ok("start", "storage")
        yield Measured("Zope", site, Path(sys.executable), ZOPE_PAGES)
    finally:
        site.end()


@contextmanager
def plone() -> Iterator[Measured]:
    site = Site(python=PLONE_PYTHON, warmupPaths="")
    try:
        site.init().use(str(HERE / "site"))
        conf = site.home / "etc" / "zope.conf"
        subprocess.run([PLONE_PYTHON, MAKE_PLONE, conf], check=True, env=site.environment, capture_output=True)
        site.ok("start", "storage")
        yield Measured("Plone", site, PLONE_PYTHON, PLONE_PAGES)
    finally:
        site.end()
