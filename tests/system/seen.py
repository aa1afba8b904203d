"""What several tests look at: who runs, and what the site has stored."""

from __future__ import annotations

from pathlib import Path

import psutil
from harness import Site
from ZODB import DB
from ZODB.FileStorage import FileStorage


def pids(site: Site, *names: str) -> dict[str, int]:
    return {name: site.pid(name) for name in names}


def stored(site: Site, *, port: int = 0) -> dict[str, int]:
    """Every id that the site has stored, and how often."""
    return {
        ident: int(count)
        for ident, count in (line.split() for line in site.get("/counts", port=port).text.splitlines())
    }


def made(site: Site) -> dict[str, int]:
    """Every id for which /make has made an object, and how often; read from the Data.fs of a site that is stopped."""
    database = DB(FileStorage(str(site.home / "var" / "filestorage" / "Data.fs"), read_only=True))
    try:
        with database.transaction() as connection:
            return {ident: each[0] for tree in connection.root()["zwsmade"].values() for ident, each in tree.items()}
    finally:
        database.close()


def zombies_of(pid: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(pid).children() if _is_zombie(child)]


def files_with(folder: Path, content: str) -> list[Path]:
    """The files below `folder` in which `content` stands; those that go while they are read are none."""
    return [path for path in folder.rglob("*") if path.is_file() and content.encode() in _read(path)]


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:  # somebody has waited for it
        return False


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
