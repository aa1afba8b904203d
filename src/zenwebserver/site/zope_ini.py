"""A site's zope.ini. Paste Deploy reads it, inside the site's own Python; here it is only looked at before."""

from __future__ import annotations

from pathlib import Path

from zenwebserver.errors import ZenwebserverError
from zenwebserver.machine import files


def check(path: Path) -> None:
    """Raises ZenwebserverError where no process of the site could read it."""
    try:
        files.read_text(path)
    except OSError as error:
        raise ZenwebserverError(f"{path} cannot be read: {error.strerror}") from error
