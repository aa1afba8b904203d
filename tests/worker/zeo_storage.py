"""A real ZEO server process that a test kills and starts again, and databases that are its clients."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import transaction
from ZEO.ClientStorage import ClientStorage
from ZODB import DB

SECONDS = 60.0
STORAGE = """
import os, sys, time
from ZODB.FileStorage import FileStorage
import ZEO.runzeo

address, data, guarded, fault = sys.argv[1:5]
if guarded:
    from zenwebserver.worker.zodb.guards import guard_storage
    guard_storage()
finish = FileStorage._finish


def faulty(self, tid, *more):
    if os.path.exists(fault + ".before"):
        os._exit(1)
    finish(self, tid, *more)
    if os.path.exists(fault + ".after"):
        os._exit(1)


FileStorage._finish = faulty
CONF = '''
<zeo>
  address %s
</zeo>
<filestorage main>
  blob-dir %s.blobs
  path %s
</filestorage>
<filestorage other>
  path %s.other
</filestorage>
'''
conf = data + ".conf"
with open(conf, "w") as file:
    file.write(CONF % (address, data, data, data))
ZEO.runzeo.main(["-C", conf])
"""


class Storage:
    """Runs from `start` to `kill`. `guarded`: as ours is; else as a site's own."""

    def __init__(self, *, guarded: bool = True) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="zws"))  # the path of a Unix socket is short
        self.data = self.folder / "Data.fs"
        self.address = str(self.folder / "s")
        self._fault = self.folder / "fault"
        self._guarded = guarded
        self._held = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Storage:
        for each in self.folder.glob("fault.*"):
            each.unlink()
        words = [self.address, str(self.data), "guarded" if self._guarded else "", str(self._fault)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([sys.executable, "-c", STORAGE, *words], stdout=log, stderr=log)
        wait_until(self._answers, "storage answers")
        return self

    def _answers(self) -> bool:
        assert self._process and self._process.poll() is None, (self.folder / "log").read_text()
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.address) == 0

    def kill(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def dies_at_the_next_commit(self, when: str) -> None:
        """`before` it is stored, or `after`: before anybody is told."""
        (self.folder / f"fault.{when}").touch()

    def signal(self, number: signal.Signals) -> None:
        assert self._process
        self._process.send_signal(number)

    def wait(self) -> None:
        assert self._process
        self._process.wait(SECONDS)

    @contextlib.contextmanager
    def starts_again_when_it_died(self) -> Iterator[None]:
        def start() -> None:
            self.wait()
            self.start()

        thread = threading.Thread(target=start)
        thread.start()
        try:
            yield
        finally:
            thread.join()

    def client(self, name: str = "main", **settings: Any) -> ClientStorage:
        """Closed at the end."""
        client = ClientStorage(self.address, name, wait_timeout=SECONDS, server_sync=True, **settings)
        self._held.callback(client.close)
        return client

    def database(self, name: str = "main", **settings: Any) -> DB:
        database = DB(self.client(name), database_name=name, **settings)
        self._held.callback(database.close)
        return database

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def end(self) -> None:
        self._held.close()
        if self._process:
            self.kill()
        shutil.rmtree(self.folder)


class Visitor:
    """A connection to a database with a transaction of its own."""

    def __init__(self, database: DB) -> None:
        self.transaction = transaction.TransactionManager()
        self.connection = database.open(self.transaction)
        self.root = self.connection.root()

    def commit(self) -> None:
        self.transaction.commit()

    def begin(self) -> None:
        self.transaction.begin()

    def abort(self) -> None:
        self.transaction.abort()

    def close(self) -> None:
        self.abort()
        self.connection.close()


def wait_until(holds: Any, what: str) -> None:
    until = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < until, what
        time.sleep(0.02)
