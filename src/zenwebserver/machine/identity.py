"""Which process a pid file means: a pid is believed only together with the time at which its process started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zenwebserver.machine import files


@dataclass(frozen=True)
class Identity:
    """Which process is meant, beyond the reuse of its pid."""

    pid: int
    started: int  # clock ticks since boot: field 22 of /proc/PID/stat (proc(5))

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """The living process `pid`; None where there is none, or it is a zombie."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_bytes()
            fields = stat[stat.rindex(b")") + 2 :].split()  # a process may name itself by any bytes
            return None if fields[0] in b"ZX" else cls(pid, int(fields[19]))
        except (OSError, ValueError, IndexError):
            return None

    @classmethod
    def read(cls, pid_file: Path) -> Identity | None:
        """The process that `pid_file` (PID STARTED BOOT) names, if it still lives."""
        try:
            pid, started, boot = pid_file.read_text().split()
            named = cls(int(pid), int(started))
        except (OSError, ValueError):
            return None
        return named if boot == boot_id() and cls.of(named.pid) == named else None

    def write(self, pid_file: Path) -> None:
        files.replace(pid_file, f"{self.pid} {self.started} {boot_id()}\n")


def boot_id() -> str:
    """Names this boot of the machine; ticks since boot mean nothing without it."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
