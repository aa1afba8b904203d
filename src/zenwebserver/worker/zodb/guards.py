"""What is mended, and in which process: called before a database is opened."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from .overrides import put_in_place

IN_SERVERS = ("clashes", "several")
# Of Zope itself, which imports what looks at the environment, and settings, of zope.conf: not before that is read.
WHEN_OPENED = ("initializing",)
WITH_ZEO = ("oids", "asking", "behind")
IN_STORAGE = ("mark", "order")


def guard_server() -> None:
    """In a process that opens the site's databases: a server, or the zygote that servers are forked from."""
    _guard(IN_SERVERS)
    if importlib.util.find_spec("ZEO"):
        _guard(WITH_ZEO)
    from zope.event import subscribers

    if _opened not in subscribers:
        subscribers.append(_opened)


def _opened(event: Any) -> None:
    """Zope has opened the database, and stores nothing in it before it has told so (Zope2.App.startup)."""
    if type(event).__name__ == "DatabaseOpened":
        _guard(WHEN_OPENED)


def guard_storage() -> None:
    """In the process that keeps Data.fs."""
    _guard(IN_STORAGE)


def _guard(names: tuple[str, ...]) -> None:
    for name in names:
        cure = importlib.import_module(f".{name}", __package__)
        put_in_place(cure.CURE, cure.overrides())
