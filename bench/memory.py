"""The memory of processes that share some of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import psutil

MEGABYTE = 1e6


@dataclass(frozen=True)
class Memory:
    """In MB: what one process has for itself (USS, the mean), and all of them with shared pages counted once (PSS)."""

    private: float
    proportional: float


def memory(servers: Iterable[int], others: Iterable[int] = ()) -> Memory:
    """Of the processes with these pids; `others` (a zygote) count in what all need, not in the mean."""
    each = [psutil.Process(pid).memory_full_info() for pid in servers]
    rest = [psutil.Process(pid).memory_full_info() for pid in others]
    return Memory(
        private=sum(one.uss for one in each) / len(each) / MEGABYTE,
        proportional=sum(one.pss for one in [*each, *rest]) / MEGABYTE,
    )
