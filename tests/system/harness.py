"""A real site in a home of its own, driven by the real command."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import free_ports
import psutil

COMMAND = Path(sys.executable).parent / "zenwebserver"
SITES = Path(__file__).parent / "sites"
# Seconds. They bound what hangs; a busy machine is no failure, so nothing that works comes near them.
COMMAND_SECONDS = 300
WAIT_SECONDS = 120


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


class Living(psutil.Process):
    """A process as it was when it was found: what it is called can be asked when it has ended meanwhile, too."""

    def __init__(self, pid: int) -> None:
        super().__init__(pid)
        self._found_words = super().cmdline()
        self._found_name = super().name()

    def name(self) -> str:
        return self._found_name

    def cmdline(self) -> list[str]:
        return self._found_words

    @property
    def command(self) -> str:
        return " ".join(self._found_words)


class Site:
    """A home in a temporary folder, on ports of its own. `end` leaves no process behind."""

    def __init__(self, **settings: object) -> None:
        # Not pytest's tmp_path: the path of a Unix socket is short.
        self.home = Path(tempfile.mkdtemp(prefix="zws"))
        self.home.rmdir()
        self._held = ExitStack()
        self.port = self._held.enter_context(free_ports.reserved())
        self.base = self.port + 1
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

    def run(self, *arguments: object, timeout: float = COMMAND_SECONDS, stdin: str = "") -> Ran:
        done = subprocess.run(
            [str(COMMAND), *map(str, arguments)],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: object, timeout: float = COMMAND_SECONDS) -> Ran:
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
        self,
        path: str = "/",
        *,
        port: int = 0,
        admin: bool = False,
        headers: dict[str, str] | None = None,
        timeout: float = WAIT_SECONDS,
    ) -> Answer:
        return self.request("GET", path, port=port, admin=admin, headers=headers, timeout=timeout)

    def post(self, path: str, body: str = "", *, port: int = 0, admin: bool = False) -> Answer:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.request("POST", path, body, port=port, admin=admin, headers=form)

    def answers(self, path: str) -> bool:
        """Whether a visitor is answered well."""
        with suppress(OSError, http.client.HTTPException):
            return self.get(path).status == 200
        return False

    def request(
        self,
        method: str,
        path: str,
        body: str | bytes | None = None,
        *,
        port: int = 0,
        admin: bool = False,
        headers: dict[str, str] | None = None,
        timeout: float = WAIT_SECONDS,
    ) -> Answer:
        """One request on a connection of its own, to the load balancer or to a direct port."""
        headers = dict(headers or {})
        if admin:
            headers["Authorization"] = "Basic " + b64encode(f"{self.user}:{self.password}".encode()).decode()
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=timeout)
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
        words: list[str] = []

        def is_written() -> bool:
            with suppress(FileNotFoundError):  # nginx renames and writes it while it is exchanged
                words[:] = path.read_text().split()
            return bool(words)

        wait_until(is_written, f"{path} names a process", seconds=20)
        return int(words[0])

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to the process of a pid file, and wait until it is gone."""
        process = psutil.Process(self.pid(name))
        process.send_signal(number)
        wait_until(lambda: not alive(process), f"{name} is gone")
        return process.pid

    def log(self, name: str = "zenwebserver") -> str:
        path = self.home / "log" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def log_tails(self) -> str:
        logs = sorted((self.home / "log").rglob("*.log"))
        return "\n".join(
            f"--- {path}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-25:]) for path in logs
        )

    def processes(self) -> list[Living]:
        """Every living process that belongs to this home. A supervisor that has nothing to do ends in a moment."""
        found = []
        for pid in psutil.pids():
            with suppress(psutil.Error):  # it ended meanwhile
                process = Living(pid)
                named = str(self.home) in process.command
                if pid != os.getpid() and (named or process.cwd() == str(self.home)) and alive(process):
                    found.append(process)
        return found

    def workers_of_nginx(self) -> list[Living]:
        """Those of the master that the pid file names; also those that are about to leave."""
        master = self.pid("nginx")
        return [
            process
            for process in self.processes()
            if "nginx: worker process" in process.command and _parent(process) == master
        ]

    def end(self) -> None:
        """Stop it, end what is left, and remove the home."""
        try:
            if (self.home / "etc" / "zenwebserver.conf").exists():
                self.run("stop", timeout=60)
        finally:
            # First the supervisor: it brings back what dies.
            for process in sorted(self.processes(), key=lambda each: "zenwebserver.supervisor" not in each.command):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            wait_until(lambda: not self.processes(), "all that was killed is gone")
            shutil.rmtree(self.home, ignore_errors=True)
            self._held.close()


def wait_until(holds: Callable[[], object], what: str, seconds: float = WAIT_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


def alive(process: psutil.Process) -> bool:
    """Whether it still is what it was; a zombie is not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _parent(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return None
