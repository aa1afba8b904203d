"""The supervisor's API seen from outside: finds it, starts it where it is needed, asks it, listens."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zenwebserver import pool
from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.machine import ports
from zenwebserver.machine.identity import Identity

ANSWER_SECONDS = 10.0
LOOK_AGAIN_SECONDS = 0.02


class Client:
    """Talks to the supervisor of one home."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._asked: Identity | None = None  # the supervisor that the last operation was asked of

    def status(self) -> dict[str, Any] | None:
        """What runs; None where no supervisor answers."""
        try:
            connection = _Connection(self.home.control_socket, ANSWER_SECONDS)
            with contextlib.closing(connection):
                connection.request("GET", "/status")
                status: dict[str, Any] = json.load(connection.getresponse())
                return status
        except (OSError, http.client.HTTPException):
            return None

    def threads(self, number: int) -> list[dict[str, Any]]:
        """What each thread of a server does now. Raises ZenwebserverError."""
        answer = self._ask("GET", f"/servers/{number}/threads")
        if "error" in answer:
            raise ZenwebserverError(f"Server {number}: {answer['error']}", hint=answer.get("hint", ""))
        threads: list[dict[str, Any]] = answer["threads"]
        return threads

    def upgrade(self) -> None:
        """Replace the supervisor by the one that is installed now; what runs goes on. Raises ZenwebserverError."""
        self._ask("POST", "/upgrade")
        deadline = time.monotonic() + ANSWER_SECONDS
        while _is_locked(self.home.lock_file):
            if time.monotonic() > deadline:
                raise ZenwebserverError(
                    "The former supervisor does not end",
                    hint=f"Its log: {self.home.supervisor_log}; what runs goes on.",
                )
            time.sleep(LOOK_AGAIN_SECONDS)
        start_supervisor(self.home)

    def _ask(self, method: str, path: str) -> dict[str, Any]:
        with contextlib.closing(_Connection(self.home.control_socket, ANSWER_SECONDS)) as connection:
            try:
                connection.request(method, path)
                answer: dict[str, Any] = json.load(connection.getresponse())
            except (OSError, http.client.HTTPException) as error:
                raise ZenwebserverError(
                    f"The supervisor does not answer: {error}", hint="To start it: zenwebserver start"
                ) from error
            return answer

    def left_behind(self) -> dict[str, Any]:
        """What runs though no supervisor does, as `status` says it: from pid files whose processes live."""
        deployed = pool.load(self.home.pool_record)
        servers: list[dict[str, Any]] = [
            {
                "number": number,
                "attached": deployed.servers[number],
                "reason": "",
                "leaving": [],
                **_listening(_pid(self.home.pid_file(f"zope{number}"))),
            }
            for number in deployed.numbers
        ]
        balancer = _listening(_nginx_pid(self.home))
        return {
            "loadbalancer": {"pid": balancer["pid"], "ports": balancer["ports"], "reason": ""},
            "storage": {
                "pid": _pid(self.home.pid_file("storage")),
                "reason": "",
                "socket": str(self.home.storage_socket),
            },
            "servers": servers,
        }

    def runs_something(self) -> bool:
        """Whether a supervisor runs, or something that one left behind."""
        if self.status() is not None:
            return True
        left = self.left_behind()
        return any(part["pid"] for part in (left["loadbalancer"], left["storage"], *left["servers"]))

    def operate(self, name: str, **what: Any) -> Iterator[dict[str, Any]]:
        """Have the supervisor do it, and yield its events. Raises ZenwebserverError."""
        return self._post(f"/operations/{name}", what)

    def session(self, kind: str) -> Iterator[dict[str, Any]]:
        """Hold a session in the foreground; closing the iterator ends it. Raises ZenwebserverError."""
        return self._post(f"/sessions/{kind}", {})

    def _post(self, path: str, what: dict[str, Any]) -> Iterator[dict[str, Any]]:
        with contextlib.closing(self._connected()) as connection:
            try:
                connection.request("POST", path, json.dumps(what), {"Content-Type": "application/json"})
                answer = connection.getresponse()
                if answer.status != http.client.OK:
                    raise ZenwebserverError(f"The supervisor answers {answer.status}: {answer.read().decode()}")
                for line in answer:
                    yield json.loads(line)
            except (OSError, http.client.HTTPException) as error:
                raise ZenwebserverError(
                    f"The supervisor went away: {error or 'it ended'}",
                    hint=f"What runs goes on. `zenwebserver start` takes it over. Its log: {self.home.supervisor_log}",
                ) from error

    def _connected(self) -> _Connection:
        """A connection to the supervisor, which is started where there is none."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            connection = _Connection(self.home.control_socket, None)
            try:
                connection.connect()
            except OSError:
                # None runs, or one is just beginning or ending.
                if not start_supervisor(self.home) and time.monotonic() > deadline:
                    raise ZenwebserverError(
                        "The supervisor runs but does not answer",
                        hint=f"Its log: {self.home.supervisor_log}; its pid: {self.home.pid_file('supervisor')}",
                    ) from None
                time.sleep(LOOK_AGAIN_SECONDS)
            else:
                self._asked = Identity.read(self.home.pid_file("supervisor"))
                return connection

    def wait_for_end(self) -> None:
        """Wait until the supervisor's process has ended, when it was told that nothing is left to do."""
        deadline = time.monotonic() + ANSWER_SECONDS
        asked = self._asked
        while asked and time.monotonic() < deadline and not self.home.control_socket.exists():
            if Identity.of(asked.pid) != asked:
                return
            time.sleep(LOOK_AGAIN_SECONDS)


def start_supervisor(home: Home) -> bool:
    """Start the supervisor, in the background. Returns False where one runs. Raises ZenwebserverError."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as said:
        subprocess.Popen(
            [sys.executable, "-m", "zenwebserver.supervisor", str(home.path), str(writing)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=writing,
            cwd="/",
            pass_fds=(writing,),
            start_new_session=True,
        )
        os.close(writing)
        words = said.read().strip()
    if words not in ("ready", "running"):
        raise ZenwebserverError("The supervisor cannot start", detail=words, hint=f"Its log: {home.supervisor_log}")
    return words == "ready"


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float | None) -> None:
        super().__init__("zenwebserver", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _pid(pid_file: Path) -> int | None:
    identity = Identity.read(pid_file)
    return identity.pid if identity else None


def _listening(pid: int | None) -> dict[str, Any]:
    """The process `pid`, and the TCP addresses on which it listens."""
    addresses = ports.listened(pid) if pid else []
    host, _, port = addresses[0].rpartition(":") if addresses else ("", "", "")
    first = {"host": host, "port": int(port)} if addresses else {}
    return {"pid": pid, "listening": bool(addresses), "ports": addresses, **first}


def _nginx_pid(home: Home) -> int | None:
    """nginx writes its pid alone; the process is ours if its command names our nginx.conf."""
    try:
        pid = int(home.nginx_pid.read_text().split()[0])
        title = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError, IndexError):
        return None
    return pid if b"nginx: master" in title and os.fsencode(home.nginx_conf) in title else None


def _is_locked(lock_file: Path) -> bool:
    try:
        with lock_file.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
