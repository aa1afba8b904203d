"""Which home a command works on: $ZENHOME's, the one whose bin/ the command stands in, or the user's own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from zenwebserver import takeover
from zenwebserver.errors import UsageError
from zenwebserver.home import Home

MOST_LINKS = 40  # the kernel follows no more (path_resolution(7))


@dataclass(frozen=True)
class Found:
    """A home, which need not be there, and what says that it is meant."""

    home: Home
    whence: str


def find(environment: Mapping[str, str], command: Path) -> Found:
    """The home that is meant where `command` is called, as it was called: $ZENHOME/bin/zenwebserver may be a link.

    Raises UsageError where such a link and ZENHOME name two homes, or where no home can be.
    """
    named = environment.get("ZENHOME")
    own = _home_of(command)
    if named:
        path = Path(named).expanduser()
        if own and own.is_link and not _same(own.home, path):
            raise UsageError(
                f"{own.home / 'bin' / command.name} belongs to that home, but ZENHOME is {named}",
                hint=f"Nothing was done. For the one: ZENHOME={own.home} zenwebserver …; "
                f"for the other: ZENHOME={named} {own.target} …",
            )
        return Found(Home.at(path), "ZENHOME names it")
    if own:
        return Found(Home.at(own.home), f"{own.home / 'bin' / command.name} was called, and ZENHOME is not set")
    if data := environment.get("XDG_DATA_HOME"):
        return Found(Home.at(Path(data) / "zenwebserver"), f"ZENHOME is not set, and XDG_DATA_HOME is {data}")
    default = Path("~/.local/share/zenwebserver").expanduser()
    return Found(Home.at(default), "ZENHOME is not set, and this is where it is by default")


@dataclass(frozen=True)
class _Own:
    home: Path
    is_link: bool  # `install` made it for this home; else it is an installation, which may serve others too
    target: Path


def _home_of(command: Path) -> _Own | None:
    """The home in whose bin/ the command stands, or a link on the way to it."""
    path = Path(os.path.abspath(command))  # noqa: PTH100 - resolve() would follow the link itself
    for _ in range(MOST_LINKS):
        folder = path.parent
        if folder.name == "bin" and _is_home(folder.parent):
            return _Own(folder.parent, path.is_symlink(), path.resolve())
        if not path.is_symlink():
            return None
        path = folder / path.readlink()
    return None


def _is_home(folder: Path) -> bool:
    home = Home(folder)
    return home.exists() or takeover.is_installed(home)


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
