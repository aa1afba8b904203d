"""Started as root, the supervisor becomes the owner of the home and keeps one thing: nginx may bind ports below 1024.

So servers, storage, nginx and every file belong to the owner, and nothing that the owner can edit is run as root.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

# Constants of <linux/prctl.h> and <linux/capability.h>.
PR_SET_KEEPCAPS = 8
PR_SET_CHILD_SUBREAPER = 36
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4
CAP_NET_BIND_SERVICE = 10
CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def become_owner_of(folder: Path) -> str | None:
    """As root, become the owner of `folder`, keeping the right to bind low ports. Returns the owner's name if changed.

    Call it before any thread is started. Raises OSError.
    """
    status = folder.stat()
    if os.geteuid() != 0 or status.st_uid == 0:
        return None
    try:
        entry = pwd.getpwuid(status.st_uid)
        name, groups, user_home = entry.pw_name, os.getgrouplist(entry.pw_name, status.st_gid), entry.pw_dir
    except KeyError:
        name, groups, user_home = str(status.st_uid), [status.st_gid], str(folder)
    _prctl(PR_SET_KEEPCAPS, 1)
    os.setgroups(groups)
    os.setresgid(status.st_gid, status.st_gid, status.st_gid)
    os.setresuid(status.st_uid, status.st_uid, status.st_uid)
    _keep_only(CAP_NET_BIND_SERVICE)
    os.environ.update(HOME=user_home, USER=name, LOGNAME=name)
    return name


def owner_is_root(folder: Path) -> bool:
    """Whether root works in a folder of root's own."""
    return os.geteuid() == 0 and folder.stat().st_uid == 0


@contextlib.contextmanager
def binding_low_ports(wanted: bool) -> Iterator[None]:
    """What is started inside may bind ports below 1024, where we may hand that on."""
    raised = wanted and bind_low_ports()
    try:
        yield
    finally:
        if raised:
            _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)


def bind_low_ports() -> bool:
    """What this process becomes or starts may bind ports below 1024. Returns whether we could hand that on."""
    return os.geteuid() != 0 and _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0) == 0


def keep_low_ports_to_ourselves() -> None:
    """What started us has handed on the right to bind low ports: not everything that we start is to have it."""
    with contextlib.suppress(OSError):  # a kernel that knows no such rights
        _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)


def become_subreaper() -> None:
    """Orphans of our processes become our children, so that they can be waited for (prctl(2))."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, *arguments: int) -> None:
    padded = (*arguments, 0, 0, 0, 0)[:4]
    if _libc.prctl(option, *(ctypes.c_ulong(argument) for argument in padded)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


def _keep_only(capability: int) -> None:
    class Header(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    class Data(ctypes.Structure):
        _fields_ = (
            ("effective", ctypes.c_uint32),
            ("permitted", ctypes.c_uint32),
            ("inheritable", ctypes.c_uint32),
        )

    bit = 1 << capability
    sets = (Data * 2)(Data(bit, bit, bit), Data(0, 0, 0))
    if _libc.capset(ctypes.byref(Header(CAPABILITY_VERSION_3, 0)), sets) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"capset: {os.strerror(number)}")
