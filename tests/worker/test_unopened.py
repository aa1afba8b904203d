"""Why storage could not open its files, in words for whoever reads `status`."""

from __future__ import annotations

import errno
import getpass
import os
import sys

import pytest

from zenwebserver.worker.unopened import Unopened, why

DATA = "/site/var/filestorage/Data.fs"


def unopened(cause: Exception, *files: str) -> Unopened:
    error = Unopened("main", files)
    error.__cause__ = cause
    return error


def os_error(number: int, path: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), path)


@pytest.mark.parametrize(
    ("error", "said", "to_do"),
    [
        (
            unopened(os_error(errno.EACCES, f"{DATA}.lock"), DATA),
            f"{DATA}.lock cannot be opened: Permission denied",
            f"It, and the folder that it is in, must be readable and writable for {getpass.getuser()}.",
        ),
        (
            unopened(os_error(errno.ENOSPC), DATA),
            f"{DATA} cannot be opened: No space left on device",
            "Make room on its disk: df -h /site/var/filestorage",
        ),
        (
            unopened(os_error(errno.EROFS, DATA), DATA),
            f"{DATA} cannot be opened: Read-only file system",
            "Mend that, or the path in etc/zope.conf.",
        ),
        (
            ModuleNotFoundError("No module named 'ZEO'", name="ZEO"),
            f"ZEO is not installed in {sys.executable}",
            "Install it there, or set `python` to another one.",
        ),
        (
            unopened(Exception("Couldn't lock " + repr("/no/such\nfile.lock"))),
            "/no/such file is open in another process",
            "Only one process can have it open: end that one.",
        ),
    ],
    ids=lambda value: value.splitlines()[0][:40] if isinstance(value, str) else type(value).__name__,
)
def test_it_is_a_sentence_with_the_file_and_one_that_says_what_to_do(error: Exception, said: str, to_do: str) -> None:
    assert why(error).split("\n") == [said, to_do]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("odd"),
        unopened(KeyError("odd"), DATA),
        unopened(os_error(errno.EIO)),
        ModuleNotFoundError("No module named 'relstorage'", name="relstorage"),
    ],
    ids=str,
)
def test_what_is_of_no_known_kind_is_left_to_its_traceback(error: Exception) -> None:
    assert why(error) == ""
