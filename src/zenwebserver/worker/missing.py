"""Objects of the site whose classes cannot be imported here: ZODB has something broken in the place of each.

A site whose way to visitors leads over one of them answers, but with nothing of its own.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from typing import Any

logger = logging.getLogger(__name__)

USERS = "acl_users"


class ClassesMissing(Exception):
    """The text says which, of what, and which setting names this Python."""


def check(connection: Any, site_root: str) -> None:
    """Look at what every visit comes by: Zope's root, the objects on the way to `site_root`, their users.

    Raises ClassesMissing. What else is broken right below these is logged: it is not asked for by everybody.
    """
    application = connection.root()["Application"]
    on_the_way = dict(_on_the_way(application, site_root))
    if broken := {path: each for path, each in on_the_way.items() if _is_broken(each)}:
        raise ClassesMissing(
            f"{sys.executable} has not the classes of objects that every visitor needs: {_told(broken)}. "
            "Does the setting `python` name the environment in which the site is installed?"
        )
    root = f"/{site_root.strip('/')}"
    if root not in on_the_way:
        logger.warning(
            "There is no %s in the database, the setting `siteRoot`: visitors get 404 until it is made", root
        )
    for path, each in _below(on_the_way):
        if _is_broken(each):
            logger.warning("The class of an object cannot be imported: %s", _told({path: each}))


def _on_the_way(application: Any, site_root: str) -> Iterator[tuple[str, Any]]:
    """Paths and objects, as far as they are there. Only the last of them may be broken."""
    path, here = "", application
    yield "/", application
    for name in [None, *site_root.strip("/").split("/")]:
        if name is not None:
            path, here = f"{path}/{name}", _own(here, name)
            if here is None:
                return
            yield path, here
        if _is_broken(here):
            return
        users = _own(here, USERS)
        if users is not None:
            yield f"{path}/{USERS}", users


def _below(on_the_way: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for path, here in on_the_way.items():
        for listed in getattr(_bare(here), "_objects", ()):
            below = f"{path.rstrip('/')}/{listed['id']}"
            if below not in on_the_way:
                yield below, _own(here, listed["id"])


def _own(folder: Any, name: str) -> Any:
    """What the folder itself holds under that name, mounted databases included; None where it holds nothing so."""
    if not name or getattr(_bare(folder), name, None) is None:
        return None
    return getattr(folder, name, None)


def _bare(each: Any) -> Any:
    from Acquisition import aq_base

    return aq_base(each)


def _is_broken(each: Any) -> bool:
    from ZODB.broken import Broken

    return isinstance(_bare(each), Broken)


def _told(broken: dict[str, Any]) -> str:
    classes = {path: type(_bare(each)) for path, each in broken.items()}
    return ", ".join(f"{path} ({kind.__module__}.{kind.__name__})" for path, kind in classes.items())
