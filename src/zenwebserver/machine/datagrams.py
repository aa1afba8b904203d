"""UDP on the loopback address: a port that stays ours while another process lives, and who speaks to it."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

LOOPBACK = "127.0.0.1"
# What holds a port is connected here, so that nothing is delivered to it: nobody sends from port 1.
NOWHERE = (LOOPBACK, 1)
SOCKETS = Path("/proc/net/udp")


def bind(port: int) -> socket.socket:
    """A socket that is asked at `port`, 0 for a free one; only this user can bind the same port. Raises OSError."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((LOOPBACK, port))
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made


def hold(port: int) -> socket.socket:
    """A socket that hears nothing, and keeps the port from other users in whatever process has it. Raises OSError."""
    made = bind(port)
    try:
        made.connect(NOWHERE)
    except BaseException:
        made.close()
        raise
    return made


def held(pid: int) -> int | None:
    """The port that process `pid` holds, if it holds one."""
    return next((local for local, remote in _connections(pid) if remote == NOWHERE), None)


def speakers(pids: Iterable[int], port: int) -> set[int]:
    """The local ports from which the processes `pids` speak to `port`."""
    return {local for pid in pids for local, remote in _connections(pid) if remote == (LOOPBACK, port)}


def has_unread(port: int, remote: int) -> bool:
    """Whether what was sent from the port `remote` to `port` still waits to be read; proc(5), /proc/net/udp."""
    ours, theirs = _as_the_kernel_writes_it(port), _as_the_kernel_writes_it(remote)
    for line in SOCKETS.read_text(encoding="ascii").splitlines()[1:]:
        _, local, other, _, queues, *_ = line.split()
        if (local, other) == (ours, theirs):
            return int(queues.partition(":")[2], 16) > 0
    return False


def _as_the_kernel_writes_it(port: int) -> str:
    return f"{int.from_bytes(socket.inet_aton(LOOPBACK), sys.byteorder):08X}:{port:04X}"


def _connections(pid: int) -> Iterator[tuple[int, tuple[str, int]]]:
    with contextlib.suppress(psutil.Error):
        for each in psutil.Process(pid).net_connections("udp4"):
            if each.raddr:
                yield each.laddr.port, (each.raddr.ip, each.raddr.port)
