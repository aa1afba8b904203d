"""Storage processes, real ones, and the folder in which they keep their files."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from supervisor_end import Call, SupervisorEnd, running

from zenwebserver.worker.messages import StorageSpec, WorkerState, encode

PROGRAM = """
import sys, time
from zenwebserver.worker import storage, zeo_server

storage.REPORT_SECONDS = 0.05
{more}
sys.exit(storage.main(sys.argv[1]))
"""


@dataclass
class Place:
    """Where a storage keeps its files; `folder` is short enough for its socket."""

    folder: Path
    supervisor: SupervisorEnd
    data_name: str = "Data.fs"

    @property
    def data(self) -> Path:
        return self.folder / self.data_name

    @property
    def blobs(self) -> Path:
        return self.folder / "blobs"

    @property
    def socket(self) -> Path:
        return self.folder / "storage.sock"

    @property
    def log(self) -> str:
        return (self.folder / "storage.log").read_text()

    @contextlib.contextmanager
    def starting(self, more: str = "") -> Iterator[tuple[subprocess.Popen[str], Call]]:
        conf = self.folder / "storage.conf"
        conf.write_text(
            f"<zeo>\n address {self.socket}\n pid-filename {self.folder}/zeo.pid\n</zeo>\n"
            f"<filestorage main>\n path {self.data}\n blob-dir {self.blobs}\n</filestorage>\n"
        )
        spec = encode(StorageSpec(str(conf), token="t4", supervisor=self.supervisor.path)).decode()
        with running(PROGRAM.format(more=more), spec, self.folder / "storage.log") as process:
            yield process, self.supervisor.answer()

    @contextlib.contextmanager
    def serving(self, more: str = "") -> Iterator[tuple[subprocess.Popen[str], Call]]:
        with self.starting(more) as (process, call):
            call.hear_of(WorkerState.SERVING)
            yield process, call
