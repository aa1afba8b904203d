"""Files are replaced whole: whoever reads one sees the former text or the new one, never a part, also after a crash."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from zenwebserver.errors import ZenwebserverError

logger = logging.getLogger(__name__)

MARK = ".zenwebserver-new"  # how the name of what is not finished yet ends
UNFINISHED = re.compile(rf"\..+{re.escape(MARK)}")


def read_text(path: Path) -> str:
    """The text of `path`, its lines ended by line feeds alone, and no byte order mark before them.

    Raises OSError as Path.read_text does; ZenwebserverError with file and line where it is not UTF-8.
    """
    content = path.read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        name = shlex.quote(str(path))
        raise ZenwebserverError(
            f"{path} is not UTF-8: line {line}, byte 0x{content[error.start]:02x}",
            hint=f"It was left as it is. Save it as UTF-8; from Latin-1: iconv -f latin1 -t utf-8 {name} > {name}.utf8",
        ) from None
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def holds(path: Path, text: str) -> bool:
    """Whether the file is there and holds just this text; it may hold anything. Raises OSError."""
    try:
        return path.read_bytes() == text.encode()
    except FileNotFoundError:
        return False


def replace(path: Path, text: str, *, mode: int = 0o644, keep_previous: bool = False) -> None:
    """Put `text` at `path`: written beside it, synced, renamed, so a full disk leaves the former file as it was.

    `keep_previous` keeps the former one as `NAME.prev`. Raises OSError.
    """
    with _beside(path) as (new, file):
        file.write(text.encode())
        os.fchmod(file.fileno(), mode)
        _sync(file)
        if keep_previous and path.exists():
            _keep(path)
        new.replace(path)
    _sync_folder(path.parent)


def previous(path: Path) -> Path:
    """Where `replace` keeps the former one."""
    return path.with_name(path.name + ".prev")


def _keep(path: Path) -> None:
    with _beside(previous(path)) as (copy, file):
        file.write(path.read_bytes())
        _sync(file)
        shutil.copystat(path, copy)
        copy.replace(previous(path))


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """An empty file in the folder of `path`, for its owner alone. What is not renamed in the end is removed."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=MARK, dir=path.parent)
    except OSError as error:
        error.filename = str(path)  # not the name that it has for a moment
        raise
    beside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _give_to_owner_of(path.parent, descriptor)
            yield beside, file
    except OSError as error:
        error.filename = str(path)  # a full disk says no name by itself, and its own is nobody's business
        raise
    finally:
        beside.unlink(missing_ok=True)


def _give_to_owner_of(folder: Path, descriptor: int) -> None:
    """Root writes into a home that another user owns: the file is that user's."""
    if os.geteuid() == 0:
        status = folder.stat()
        os.fchown(descriptor, status.st_uid, status.st_gid)


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Have the disk hold which names it has."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folders: Iterable[Path], names: re.Pattern[str] = UNFINISHED) -> list[Path]:
    """Remove what killed processes left unfinished right in these folders. Returns what was removed.

    Only for whoever holds the lock of all who write there. `names` are those of the files and folders that go;
    links are neither followed nor removed. What cannot be removed is logged.
    """
    removed = []
    for path in (path for folder in folders for path in _unfinished(folder, names)):
        try:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        except OSError as error:
            logger.warning("It was left unfinished and cannot be removed: %s", error)
        else:
            removed.append(path)
    return removed


def _unfinished(folder: Path, names: re.Pattern[str]) -> list[Path]:
    if folder.is_symlink() or not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return [
            folder / entry.name
            for entry in entries
            if names.fullmatch(entry.name)
            and (entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False))
        ]


def current_place(opened: Path) -> Path | None:
    """Where the file or folder is now that `opened` (/proc/PID/fd/N) leads to; None where it was removed."""
    try:
        place = opened.readlink()
        return place if place.samefile(opened) else None
    except OSError:
        return None


def make_folder(folder: Path, *, mode: int = 0o755) -> None:
    """Make `folder` and its missing parents; where root makes one inside a user's folder, it is that user's."""
    if folder.is_dir():
        return
    if not folder.parent.is_dir():
        make_folder(folder.parent)
    folder.mkdir(mode=mode, exist_ok=True)
    if os.geteuid() == 0:
        status = folder.parent.stat()
        os.chown(folder, status.st_uid, status.st_gid)
