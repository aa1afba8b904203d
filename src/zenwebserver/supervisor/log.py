"""The supervisor's own log: kept small, made anew where somebody removed it, and never a reason to fail."""

from __future__ import annotations

import logging
import os
import sys
from logging.handlers import RotatingFileHandler
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


class RotatingLog(RotatingFileHandler):
    """Records in `path`; before it grows beyond `most` bytes it becomes `path`.1, and that .2, up to `former` of them.

    Each record is written into the file that has the path's name then. What cannot be written is lost.
    """

    def __init__(self, path: Path, *, most: int = LOG_BYTES, former: int = LOG_FILES) -> None:
        """Raises OSError."""
        make_folder(path.parent)
        super().__init__(path, maxBytes=most, backupCount=former, encoding="utf-8", errors="backslashreplace")
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._follow_the_name()
        except OSError:
            self.handleError(record)
        else:
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """A full disk, or a record that cannot be shown, is nothing that whoever logs could mend."""

    def _follow_the_name(self) -> None:
        """Somebody may have removed the file, or its folder, or moved it away."""
        if not self._path.parent.parent.is_dir():
            return  # the home itself was: what is open goes with it, and nothing is made in its place
        if self.stream and not self._is_named(self.stream.fileno()):
            self.stream.close()
            self.stream = None  # it is opened again with the next record
        if self.stream is None:
            make_folder(self._path.parent)

    def _is_named(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(descriptor))
        except OSError:
            return False
