"""Why storage could not open its files, in a sentence, and what to do, in the next; pure but for a look at the lock."""

from __future__ import annotations

import ast
import contextlib
import errno
import os
import pwd
import re
import sys

from .data_files import DataMissing


class Misconfigured(Exception):
    """The storage's configuration cannot be used; ZConfig's own words, with the line."""


class Unopened(Exception):
    """The storage `name` could not be opened; its cause is what ZODB raised. `files` are those that it names."""

    def __init__(self, name: str, files: tuple[str, ...]) -> None:
        super().__init__(f"Storage {name!r} could not be opened: {', '.join(files) or 'it names no file'}")
        self.files = files


def why(error: BaseException) -> str:
    """A line that says it, then one that says what to do; empty where only a traceback does."""
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == "ZEO":
        return _said(f"ZEO is not installed in {sys.executable}", "Install it there, or set `python` to another one.")
    if isinstance(error, DataMissing):
        return _said(*error.args)
    if isinstance(error, Misconfigured):
        return _said(f"its configuration cannot be used: {error}", "Mend that in etc/zope.conf, from which it is made.")
    cause = error.__cause__ if isinstance(error, Unopened) else error
    files = error.files if isinstance(error, Unopened) else ()
    if locked := re.fullmatch(r"Couldn't lock (['\"].+['\"])", str(cause)):  # zc.lockfile's words, with a repr
        return _locked(str(ast.literal_eval(locked[1])))
    if isinstance(cause, OSError):
        return _refused(cause, files)
    if isinstance(error, Unopened) and files and _is_damage(cause):
        return _damaged(", ".join(files), cause)
    return ""


def _is_damage(cause: BaseException | None) -> bool:
    """FileStorage's own words, or what it stumbles over in what is no record."""
    names = {kind.__name__ for kind in type(cause).__mro__}
    return bool(names & {"FileStorageError", "UnicodeDecodeError", "struct.error", "error", "AssertionError"})


def _damaged(files: str, cause: BaseException | None) -> str:
    how = "it is no Data.fs" if type(cause).__name__ == "FileStorageFormatError" else f"it is damaged ({cause})"
    return _said(
        f"{files} cannot be read: {how}",
        f"Put a backup in its place; or copy it, and try: {sys.executable} -m ZODB.fsrecover COPY RECOVERED",
    )


def _locked(lock: str) -> str:
    data = lock[: -len(".lock")] if lock.endswith(".lock") else lock
    return _said(
        f"{data} is open in another process{_holder(lock)}",
        "Only one process can have it open: end that one.",
    )


def _holder(lock: str) -> str:
    """Who wrote itself into the lock file; it is believed as far as there is such a process."""
    with contextlib.suppress(OSError, ValueError, IndexError), open(lock, encoding="ascii", errors="replace") as file:
        pid = int(file.read().split()[0])
        with open(f"/proc/{pid}/cmdline", "rb") as command:
            words = command.read().replace(b"\0", b" ").decode(errors="replace").strip()
        return f", pid {pid}: {words:.200}"
    return ""


def _refused(cause: OSError, files: tuple[str, ...]) -> str:
    path = os.fsdecode(cause.filename) if isinstance(cause.filename, (str, bytes)) else ", ".join(files)
    if not path:
        return ""
    told = cause.strerror or str(cause)
    if cause.errno in (errno.EACCES, errno.EPERM):
        what = f"It, and the folder that it is in, must be readable and writable for {_user()}."
    elif cause.errno in (errno.ENOSPC, errno.EDQUOT):
        what = f"Make room on its disk: df -h {os.path.dirname(path)}"
    elif cause.errno == errno.ENOENT:
        what = "Make its folder, or mend the path in etc/zope.conf."
    else:
        what = "Mend that, or the path in etc/zope.conf."
    return _said(f"{path} cannot be opened: {told}", what)


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user {os.geteuid()}"


def _said(what: str, to_do: str) -> str:
    """Each a line of its own, whatever a file is called."""
    return "\n".join(" ".join(text.split("\n")) for text in (what, to_do))
