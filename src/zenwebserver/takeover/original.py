"""A file as it was before zenwebserver changed it, and writing files whole that stay their owner's."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from zenwebserver.errors import ZenwebserverError


@dataclass(frozen=True)
class Metadata:
    """What a file is besides its bytes."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> Metadata:
        status = path.stat()
        return cls(status.st_mode & 0o7777, status.st_uid, status.st_gid, status.st_mtime_ns)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def digest_of(path: Path) -> str | None:
    """The digest of the file at `path`; None where there is none."""
    try:
        return digest(path.read_bytes())
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None


def beside(path: Path) -> Path:
    """Where the new text of `path` is written first: always the same name, so a killed run leaves one."""
    real = path.resolve()
    return real.with_name(f".{real.name}.zenwebserver-install")


def write(path: Path, data: bytes, metadata: Metadata | None = None) -> None:
    """Put `data` where `path` is or points to; a link stays a link.

    Mode, owner and extended attributes stay as they are, or become `metadata`'s, its time of change too.
    Raises OSError, and ZenwebserverError where the owner cannot be kept; the former file then stands
    untouched.
    """
    real, new = path.resolve(), beside(path)
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            _dress(new, real, metadata)
            os.fsync(file.fileno())
        new.replace(real)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    sync_folder(real.parent)


def _dress(new: Path, real: Path, metadata: Metadata | None) -> None:
    if real.exists():
        wanted = metadata or Metadata.of(real)
        shutil.copystat(real, new)
    else:
        wanted = metadata or Metadata.of(new)
    status = new.stat()
    if (status.st_uid, status.st_gid) != (wanted.uid, wanted.gid):
        try:
            os.chown(new, wanted.uid, wanted.gid)
        except PermissionError as error:
            raise ZenwebserverError(
                f"{real} belongs to user {wanted.uid}, group {wanted.gid}; yours if you write it.",
                hint="It was left as it was. Do it as the file's owner, or as root.",
            ) from error
    new.chmod(wanted.mode)
    if metadata:
        os.utime(new, ns=(metadata.mtime_ns, metadata.mtime_ns))
    else:
        os.utime(new)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def give_to_owner_of(folder: Path, path: Path) -> None:
    """What root makes in a home that another user owns is that user's."""
    if os.geteuid() == 0:
        status = folder.stat()
        os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)
