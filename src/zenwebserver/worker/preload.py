"""The site's code and ZCML loaded without its database, so that servers can be forked from it.

The order is that of Zope's own start (Zope2.App.startup), less what opens the database; each server's ordinary start
then finds all this done.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import ipaddress
import os
import sys
import threading
import time

from . import application, holes
from .zodb.guards import guard_server

# What an ordinary start imports late; shared memory and time are saved where the site has them.
ALSO = (
    "ZEO.ClientStorage",
    "ZEO.asyncio.client",
    "ZPublisher.WSGIPublisher",
    "ZPublisher.httpexceptions",
    "Zope2.App.ClassFactory",
    "paste.deploy",
    "waitress.server",
)

# A thread that Python has joined is the kernel's for a moment longer.
THREAD_END_SECONDS = 1.0


def preload(zope_ini: str, zope_conf: str) -> None:
    """Load everything but the database. Raises what the site raises."""
    guard_server()
    application.configure_logging(zope_ini)
    from Zope2.Startup import get_wsgi_starter
    from Zope2.Startup.run import _set_wsgi_config

    starter = get_wsgi_starter()
    starter.setConfiguration(_set_wsgi_config(zope_conf).configroot)
    starter.setupLocale()
    starter.setupSecurityOptions()
    starter.setupPublisher()
    _load_products_and_zcml()
    for name in ALSO:
        if importlib.util.find_spec(name.partition(".")[0]):
            importlib.import_module(name)


def _load_products_and_zcml() -> None:
    from AccessControl.SecurityManagement import newSecurityManager, noSecurityManager
    from AccessControl.users import system
    from OFS.Application import import_products
    from Zope2.App.patches import apply_patches
    from Zope2.App.startup import load_zcml

    apply_patches()
    import_products()
    newSecurityManager(None, system)
    load_zcml()
    noSecurityManager()


def share_memory() -> list[object]:
    """Keep the garbage collector, and what servers make, from what they share: its pages would be copied.

    Returns what must be kept for that.
    """
    gc.collect()
    filling = holes.filling()
    gc.freeze()
    return filling


class Unsafe(Exception):
    """What was loaded cannot be forked; the text says why."""


def connections() -> set[str]:
    """The network sockets that this process has open."""
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


def check_fork_safety(before: set[str]) -> None:
    """Raises Unsafe where loading the site started a thread or left a connection open that `before` did not have."""
    others = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if others:
        raise Unsafe(f"loading the site started a thread: {', '.join(others)}")
    deadline = time.monotonic() + THREAD_END_SECONDS
    while len(os.listdir("/proc/self/task")) > 1:
        if time.monotonic() > deadline:
            raise Unsafe("loading the site started a thread outside Python")
        time.sleep(0.01)
    left_open = connections() - before
    if left_open:
        raise Unsafe(f"loading the site left a connection open: {', '.join(map(_describe, sorted(left_open)))}")


def _describe(target: str) -> str:
    inode = target.partition("[")[2].rstrip("]")
    for protocol in ("tcp", "tcp6", "udp", "udp6", "unix"):
        try:
            with open(f"/proc/self/net/{protocol}", encoding="utf-8", errors="replace") as table:
                for line in table:
                    fields = line.split()
                    if fields[6 if protocol == "unix" else 9 :][:1] == [inode]:  # proc(5), /proc/net
                        return _connection(protocol, fields)
        except OSError:
            continue
    return target


def _connection(protocol: str, fields: list[str]) -> str:
    if protocol == "unix":
        return f"unix {fields[7] if len(fields) > 7 else ''}".strip()
    local, remote = map(_address, fields[1:3])
    return f"{protocol} at {local}" if remote.endswith(":0") else f"{protocol} to {remote}"


def _address(field: str) -> str:
    """As a person writes it; the kernel writes each 32 bits of an address in the machine's byte order."""
    host, _, port = field.partition(":")
    words = [int(host[start : start + 8], 16).to_bytes(4, sys.byteorder) for start in range(0, len(host), 8)]
    address = ipaddress.ip_address(b"".join(words))
    return f"[{address}]:{int(port, 16)}" if address.version == 6 else f"{address}:{int(port, 16)}"
