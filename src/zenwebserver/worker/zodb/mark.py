"""In storage: no object id is given twice, also over a kill.

Beside Data.fs stands Data.fs.oid, the largest id that may have been given. It is written, and synced, before the ids
that it covers are given, some 65,000 at a time; the next start counts on from there.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from typing import Any

from ZODB.FileStorage.FileStorage import FileStorage
from ZODB.POSException import ReadOnlyError, StorageError
from ZODB.utils import p64, u64

from .overrides import Method, Override

logger = logging.getLogger(__name__)

CURE = "storage gives no object id twice"

COVERED = "_zenwebserver_covered"
AT_A_TIME = 1 << 16
# Left out where the mark is lost: more than servers and scripts can have been given without using it.
LEFT_OUT = 1 << 20
LARGEST = 1 << 62
TEXT = "Object ids up to this one may be in use: 0x{:016x}\n"
MARK = re.compile(TEXT.replace("{:016x}", "([0-9a-f]{16})").encode())


class OidsUncovered(StorageError):  # type: ignore[misc]
    """No id was given, and nothing else has changed."""


def overrides() -> list[Override]:
    return [Override(FileStorage, "new_oid", ("self",), frozenset({"_is_read_only", "_lock", "_oid"}), _new_oid)]


def _new_oid(original: Method) -> Method:
    def new_oid(self: Any) -> Any:
        if self._is_read_only:
            raise ReadOnlyError
        with self._lock:
            if COVERED not in self.__dict__:
                self.__dict__[COVERED] = _take_up(self)
            following = u64(self._oid) + 1
            if following > self.__dict__[COVERED]:
                covered = following - 1 + AT_A_TIME
                _write(_path(self), covered)
                self.__dict__[COVERED] = covered
            return original(self)

    return new_oid


def _path(storage: Any) -> str:
    return f"{storage._file_name}.oid"


def _take_up(storage: Any) -> int:
    """Count on from the mark; from far above what is committed where there is none. Returns what is covered already."""
    committed, path = u64(storage._oid), _path(storage)
    covered = _read(path)
    if covered is None:
        if len(storage):
            logger.info("%s does not say which object ids are in use: %s are left out", path, f"{LEFT_OUT:,}")
            storage._oid = p64(committed + LEFT_OUT)
        return 0
    storage._oid = p64(max(committed, covered))
    return covered


def _read(path: str) -> int | None:
    """None where there is none, or none that can be understood."""
    try:
        with open(path, "rb") as file:
            found = MARK.fullmatch(file.read(1024))
    except FileNotFoundError:
        return None
    except OSError as error:
        logger.warning("%s cannot be read: %s", path, error.strerror)
        return None
    covered = int(found[1], 16) if found else LARGEST
    return covered if covered < LARGEST else None


def _write(path: str, covered: int) -> None:
    """Replaced whole, and on the disk when this returns. Raises OidsUncovered."""
    new = path + "_tmp"
    try:
        with open(new, "wb") as file:
            file.write(TEXT.format(covered).encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise OidsUncovered(
            f"No new object can be stored: {path} cannot be written ({error.strerror}). No object id was given and "
            "nothing was changed; where the disk is full, make room on it, and try again."
        ) from error
    with contextlib.suppress(OSError):  # not every file system can; a kill, unlike a power cut, needs no sync
        _sync_folder(os.path.dirname(path))


def _sync_folder(path: str) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
