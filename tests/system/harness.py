"""A real site in a home of its own, driven by the real command."""

from __future__ import annotations

import fcntl
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

COMMAND = Path(sys.executable).parent / "zenwebserver"
SITES = Path(__file__).parent / "sites"
PORTS_OF_A_SITE = 50
LOWEST_PORT, HIGHEST_PORT = 20000, 32000  # below the range from which the kernel gives ports to clients


@dataclass
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"exit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Site:
    """A home in a temporary folder, on ports of its own. `end` leaves no process behind."""

    def __init__(self, **settings: object) -> None:
        # Not pytest's tmp_path: the path of a Unix socket is short.
        self.home = Path(tempfile.mkdtemp(prefix="zws"))
        self.home.rmdir()
        self._held = ExitStack()
        self.port, self.base = self._held.enter_context(_ports())
        self.environment = {**os.environ, "ZENHOME": str(self.home), "COLUMNS": "200"}
        self.settings = {
            "httpAddress": "127.0.0.1",
            "httpPort": self.port,
            "serverBasePort": self.base,
            "worker_processes": 2,
            **settings,
        }
        self.user = self.password = ""

    def init(self) -> Site:
        """Make the home; the admin's password is kept for `get` and `post`."""
        ran = self.ok("init", *(f"--set={key}={value}" for key, value in self.settings.items()))
        found = re.search(r"Administrator: (\S+)\nPassword: +(\S+)", ran.out)
        assert found, ran
        self.user, self.password = found[1], found[2]
        return self

    def use(self, name: str) -> Site:
        """Add the code and the views of tests/system/sites/NAME to the site."""
        folder = SITES / name
        zcml = self.home / "etc" / "site.zcml"
        part = (folder / "site.zcml.part").read_text()
        zcml.write_text(zcml.read_text().replace("</configure>", f"{part}</configure>"))
        self.environment["PYTHONPATH"] = str(folder)
        return self

    # The command.

    def run(self, *arguments: object, timeout: float = 120, stdin: str = "") -> Ran:
        done = subprocess.run(
            [str(COMMAND), *map(str, arguments)],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: object, timeout: float = 120) -> Ran:
        """Run a command that must succeed."""
        ran = self.run(*arguments, timeout=timeout)
        assert ran.code == 0, f"{arguments}: {ran}\n{self.log_tails()}"
        return ran

    def popen(self, *arguments: object, **settings: object) -> subprocess.Popen[str]:
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
            [str(COMMAND), *map(str, arguments)], env=self.environment, text=True, **settings
        )

    # What a visitor sees.

    def get(
        self, path: str = "/", *, port: int = 0, admin: bool = False, headers: dict[str, str] | None = None
    ) -> Answer:
        return self.request("GET", path, port=port, admin=admin, headers=headers)

    def post(self, path: str, body: str = "", *, port: int = 0, admin: bool = False) -> Answer:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.request("POST", path, body, port=port, admin=admin, headers=form)

    def request(
        self,
        method: str,
        path: str,
        body: str | bytes | None = None,
        *,
        port: int = 0,
        admin: bool = False,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request on a connection of its own, to the load balancer or to a direct port."""
        headers = dict(headers or {})
        if admin:
            headers["Authorization"] = "Basic " + b64encode(f"{self.user}:{self.password}".encode()).decode()
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def server_port(self, number: int) -> int:
        return self.base + number

    def spare_port(self, number: int = 0) -> int:
        """One of five more ports that are this site's own."""
        return self.base + 40 + number

    # What an admin sees.

    def pid(self, name: str) -> int:
        """The first word of a pid file: "nginx", "supervisor", "storage", "zope1" …"""
        path = self.home / "var" / ("nginx.pid" if name == "nginx" else f"run/{name}.pid")
        return int(path.read_text().split()[0])

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to the process of a pid file, and wait until it is gone."""
        process = psutil.Process(self.pid(name))
        process.send_signal(number)
        wait_until(lambda: not _alive(process), f"{name} is gone")
        return process.pid

    def log(self, name: str = "zenwebserver") -> str:
        path = self.home / "log" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def log_tails(self) -> str:
        logs = sorted((self.home / "log").rglob("*.log"))
        return "\n".join(
            f"--- {path}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-25:]) for path in logs
        )

    def processes(self) -> list[psutil.Process]:
        """Every living process that belongs to this home."""
        found = []
        for process in psutil.process_iter():
            try:
                named = any(str(self.home) in word for word in process.cmdline())
                if (
                    process.pid != os.getpid()
                    and process.status() != psutil.STATUS_ZOMBIE
                    and (named or process.cwd() == str(self.home))
                ):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def end(self) -> None:
        """Stop it, end what is left, and remove the home."""
        try:
            if (self.home / "etc" / "zenwebserver.conf").exists():
                self.run("stop", timeout=60)
        finally:
            for process in self.processes():
                process.kill()
            psutil.wait_procs(self.processes(), timeout=10)
            shutil.rmtree(self.home, ignore_errors=True)
            self._held.close()


def wait_until(holds: Callable[[], object], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def _ports() -> Iterator[tuple[int, int]]:
    """A free port for nginx and the base of forty for servers, reserved by lock files among parallel tests."""
    for first in range(LOWEST_PORT, HIGHEST_PORT, PORTS_OF_A_SITE):
        lock = (Path(tempfile.gettempdir()) / f"zenwebserver-test-ports-{first}").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        with lock:
            if all(_is_free(port) for port in range(first, first + PORTS_OF_A_SITE)):
                yield first, first + 1
                return
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
