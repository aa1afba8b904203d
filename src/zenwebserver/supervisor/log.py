"""The supervisor's own log: kept small, made anew where somebody removed it, and never a reason to fail."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import sys
from pathlib import Path

from zenwebserver.home import Home
from zenwebserver.machine.files import make_folder

logger = logging.getLogger(__name__)

LOG_BYTES = 10 * 1024 * 1024
LOG_FILES = 5  # former ones: .1 is the youngest
FORMAT = "%(asctime)s %(levelname)s %(message)s"
NOISY = ("uvicorn.access", "uvicorn.error", "asyncio")


def configure_logging(home: Home) -> None:
    """From now on all that is logged stands in the supervisor's log. Raises OSError where it cannot be opened."""
    handler = RotatingLog(home.supervisor_log)
    handler.setFormatter(logging.Formatter(FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    sys.excepthook = lambda *error: logger.critical("The supervisor fails", exc_info=error)


class RotatingLog(logging.Handler):
    """Records in `path`; before it grows beyond `most` bytes it becomes `path`.1, and that .2, up to `former` of them.

    Each record is written at once, into the file that has the path's name then. Where it cannot be written (a full
    disk), it is lost, and the next one that can be says how many were.
    """

    def __init__(self, path: Path, *, most: int = LOG_BYTES, former: int = LOG_FILES) -> None:
        """Raises OSError."""
        super().__init__()
        self._path = path
        self._most = most
        self._former = former
        self._descriptor: int | None = None
        self._lost = 0
        self._why = ""
        self._is_cut = False  # the last line of the file has no end
        self._open()

    def emit(self, record: logging.LogRecord) -> None:
        line = self._line(record)
        if self._lost:
            line = f"(records lost before this one: {self._lost}; {self._why})\n{line}"
        try:
            self._write(line.encode(errors="backslashreplace"))
        except OSError as error:
            self._lost += 1
            self._why = str(error)
        else:
            self._lost = 0

    def close(self) -> None:
        with self.lock or contextlib.nullcontext():
            self._close()
        super().close()

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return f"{self.format(record)}\n"
        except Exception as error:  # noqa: BLE001 - whoever logs something wrong goes on all the same
            return f"{record.levelname} {record.msg!r} with {record.args!r} cannot be shown: {error!r}\n"

    def _write(self, line: bytes) -> None:
        descriptor = self._opened(len(line))
        if self._is_cut:
            line = b"\n" + line
        written = os.write(descriptor, line)
        self._is_cut = line[written - 1 : written] != b"\n"
        if written < len(line):
            raise OSError(f"{written} bytes of {len(line)} had room")

    def _opened(self, size: int) -> int:
        """The file that has the path's name, with room for `size` bytes more."""
        if self._descriptor is not None:
            status = os.fstat(self._descriptor)
            if not self._is_named(status):
                self._close()
            elif stat.S_ISREG(status.st_mode) and 0 < status.st_size > self._most - size:
                self._make_room()
        return self._open() if self._descriptor is None else self._descriptor

    def _is_named(self, status: os.stat_result) -> bool:
        try:
            return os.path.samestat(self._path.stat(), status)
        except OSError:
            return False

    def _make_room(self) -> None:
        """Where the files cannot be renamed, the log grows on."""
        with contextlib.suppress(OSError):
            for number in range(self._former - 1, 0, -1):
                with contextlib.suppress(FileNotFoundError):
                    self._named(number).replace(self._named(number + 1))
            self._path.replace(self._named(1))
            self._close()

    def _named(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _open(self) -> int:
        make_folder(self._path.parent)
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._is_cut = False
        return self._descriptor

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
