"""Files are replaced whole: whoever reads one sees the former text or the new one, never a part, also after a crash."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path


def replace(path: Path, text: str, *, mode: int = 0o644, keep_previous: bool = False) -> None:
    """Put `text` at `path`: written beside it, synced, renamed, so a full disk leaves the former file as it was.

    `keep_previous` keeps the former one as `NAME.prev`. Raises OSError.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    beside = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        _give_to_owner_of(path.parent, beside)
        if keep_previous and path.exists():
            _copy(path, path.with_name(path.name + ".prev"))
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _copy(source: Path, target: Path) -> None:
    beside = target.with_name(f".{target.name}.new")
    shutil.copy2(source, beside)
    _give_to_owner_of(target.parent, beside)
    beside.replace(target)


def _give_to_owner_of(folder: Path, path: Path) -> None:
    """Root writes into a home that another user owns: the file is that user's."""
    if os.geteuid() == 0:
        status = folder.stat()
        os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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


def read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
