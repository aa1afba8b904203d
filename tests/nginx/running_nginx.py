"""The real nginx as a child process, with a configuration of ours, and requests as odd as they come."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Protocol

from zenwebserver.home import Home
from zenwebserver.nginx import config
from zenwebserver.nginx.binary import Capabilities
from zenwebserver.settings import Settings, parse

ROOT = ("root", "root") if os.geteuid() == 0 else None


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def settings_of(home: Home, text: str = "", known_variables: Iterable[str] = ()) -> Settings:
    workers = "" if "worker_processes" in text else "worker_processes 2\n"
    return parse(f"{workers}{text}\n", home.path, tuple(known_variables))


def write_configuration(
    home: Home,
    settings: Settings,
    capabilities: Capabilities,
    pool: Iterable[config.PoolServer],
    *,
    template: str = "",
    ipv6: bool = False,
    name_port: int | None = None,
) -> None:
    home.make_folders()
    for folder in config.folders(settings, home):
        folder.mkdir(parents=True, exist_ok=True)
    home.error_page.write_text(config.shipped_error_page())
    home.nginx_pool_conf.write_text(config.render_pool(tuple(pool), settings, capabilities, name_port=name_port))
    text = config.render(
        template or config.shipped_template(),
        template_name="nginx.conf.template",
        settings=settings,
        home=home,
        capabilities=capabilities,
        pool_conf=home.nginx_pool_conf,
        user=ROOT,
        ipv6=ipv6,
    )
    home.nginx_conf.write_text(text)


def verify(binary: Path, home: Home) -> tuple[bool, str]:
    """Whether `nginx -t` takes it, and its words."""
    command = [binary, "-t", "-p", f"{home.path}/", "-c", home.nginx_conf]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode == 0, done.stdout + done.stderr


class Balancer:
    """A running nginx."""

    def __init__(self, binary: Path, home: Home, settings: Settings) -> None:
        self.home = home
        self.port = settings.http_port
        self.ssl_port = settings.ssl_port
        self._ports = [self.port, *([self.ssl_port] if settings.use_ssl else [])]
        command = [binary, "-p", f"{home.path}/", "-c", home.nginx_conf, "-g", "daemon off;"]
        with (home.nginx_log / "output").open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)

    def wait_until_it_listens(self, host: str) -> None:
        """At each port: it opens one after the other."""
        until = time.monotonic() + 30
        waiting = list(self._ports)
        while waiting:
            assert time.monotonic() < until, "nginx does not listen"
            assert self._process.poll() is None, (self.home.nginx_log / "output").read_text()
            try:
                socket.create_connection((host, waiting[0]), timeout=5).close()
                waiting.pop(0)
            except ConnectionRefusedError:
                time.sleep(0.01)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    @property
    def pid(self) -> int:
        return self._process.pid

    def error_log(self) -> str:
        return (self.home.nginx_log / "error.log").read_text()

    def access_log(self) -> str:
        return (self.home.nginx_log / "access.log").read_text()

    def send(
        self, raw: bytes, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, name: str = ""
    ) -> Reply | None:
        """The reply to the bytes `raw`; None where nginx closed without one. `name`: what TLS asks for."""
        port = self.ssl_port if tls else self.port
        with socket.create_connection((host, port), timeout=30) as plain:
            connection = tls.wrap_socket(plain, server_hostname=name or host) if tls else plain
            with connection:
                connection.sendall(raw)
                response = HTTPResponse(connection, method=raw.split(b" ", 1)[0].decode())
                try:
                    response.begin()
                    headers = {key.lower(): value for key, value in response.getheaders()}
                    return Reply(response.status, headers, response.read())
                except ConnectionResetError:  # RemoteDisconnected is one, too
                    return None
                finally:
                    response.close()

    def ask(
        self,
        target: str = "/",
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        body: bytes = b"",
        host: str = "www.example.org",
        address: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
    ) -> Reply:
        """The reply to a request; `target` goes out as it is."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        raw = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
        reply = self.send(raw, host=address, tls=tls, name=host)
        assert reply is not None, "nginx closed the connection without a reply"
        return reply


class Start(Protocol):
    """A running nginx before the test's upstream, or before `servers`; `text` are further settings."""

    def __call__(
        self,
        text: str = "",
        servers: Iterable[config.PoolServer] | None = None,
        *,
        template: str = "",
        address: str = "127.0.0.1",
        variables: Iterable[str] = (),
        name_port: int | None = None,
    ) -> Balancer: ...


def system_nginx() -> Path | None:
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None
