"""A created site, its storage served by a real runzeo, and real Zope servers on what is generated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from zenwebserver.home import Home, make_folder
from zenwebserver.machine import files
from zenwebserver.site import zope_conf
from zenwebserver.site.create import Credentials, create

SERVER = Path(__file__).with_name("booted_server.py")


class Server:
    """A Zope server in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], password: str, log: Path) -> None:
        self.process = process
        self.password = password
        self.log = log

    def ask(self, method: str, path: str, body: str = "", password: str | None = None) -> tuple[int, str]:
        request = {"method": method, "path": path, "body": body, "password": password or self.password}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        answer: dict[str, Any] = json.loads(line)
        return answer["status"], answer["text"]


@contextmanager
def booted(log: Path, password: str, *arguments: Path) -> Iterator[Server]:
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, SERVER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            yield Server(process, password, log)
            process.communicate(timeout=60)
            assert process.returncode == 0, log.read_text()
        finally:
            process.kill()


def server_conf(home: Home, name: str) -> Path:
    client_home = home.client_home(name)
    make_folder(client_home)
    text = zope_conf.read(home.zope_conf).server_conf(
        client_home=client_home, name=f"zope{name}", storage_socket=home.storage_socket
    )
    files.replace(home.server_conf(name), text)
    return home.server_conf(name)


@contextmanager
def storage(home: Home) -> Iterator[None]:
    files.replace(home.storage_conf, zope_conf.read(home.zope_conf).storage_conf(socket=home.storage_socket))
    # A demo storage leaves its blobs in the temporary folder.
    environment = {**os.environ, "INSTANCE_HOME": str(home.path), "TMPDIR": str(home.var)}
    with home.storage_log.open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ZEO.runzeo", "-C", home.storage_conf], stderr=log, env=environment
        )
        try:
            yield
        finally:
            process.terminate()
            assert process.wait(timeout=60) == 0, home.storage_log.read_text()


def created(home: Home) -> Credentials:
    credentials = create(home)
    assert credentials is not None
    return credentials


def test_two_servers_share_the_created_site_and_know_its_administrator(home: Home) -> None:
    password = created(home).password
    with storage(home), ExitStack() as servers:
        first = servers.enter_context(booted(home.server_log("1"), password, server_conf(home, "1")))
        assert first.ask("GET", "/manage_main")[0] == 200
        assert first.ask("GET", "/manage_main", password="wrong")[0] == 401
        assert not (home.path / "inituser").exists()

        second = servers.enter_context(booted(home.server_log("2"), password, server_conf(home, "2")))
        for number in range(20):  # each write through one is read at once through the other
            writer, reader = (first, second) if number % 2 else (second, first)
            assert writer.ask("POST", "/manage_addFolder", f"id=f{number}&title=Title{number}")[0] in (
                200,
                302,
            )
            assert reader.ask("GET", f"/f{number}/title_or_id") == (200, f"Title{number}")

        assert first.ask("POST", "/manage_addDTMLDocument", "id=doc&file=hello")[0] in (200, 302)
        assert second.ask("GET", "/doc") == (200, "hello")

        assert first.ask("WRITE BLOB", "picture", "of a cat") == (200, "")
        assert second.ask("READ BLOB", "picture") == (200, "of a cat")

    blobs = (home.var / "blobstorage").rglob("*.blob")
    assert [path.read_text() for path in blobs] == ["of a cat"]
    log = home.storage_log.read_text()
    assert "zope1" in log
    assert "zope2" in log
    assert (home.var / "filestorage/Data.fs").stat().st_size > 0
    assert not (home.var / "ZEO.pid").exists()


def test_blobs_of_a_demo_storage_reach_every_server(home: Home) -> None:
    create(home)
    text = home.zope_conf.read_text()
    wrapped = text.replace("<filestorage>", "<demostorage>\n<filestorage base>")
    home.zope_conf.write_text(wrapped.replace("</filestorage>", "</filestorage>\n</demostorage>"))
    password = created(home).password
    with storage(home), ExitStack() as servers:
        first = servers.enter_context(booted(home.server_log("1"), password, server_conf(home, "1")))
        assert first.ask("WRITE BLOB", "picture", "of a cat") == (200, "")
        second = servers.enter_context(booted(home.server_log("2"), password, server_conf(home, "2")))
        assert second.ask("READ BLOB", "picture") == (200, "of a cat")


def test_a_storage_that_restarts_makes_requests_wait_and_none_fail(home: Home) -> None:
    password = created(home).password
    with ExitStack() as servers:
        with storage(home):
            server = servers.enter_context(booted(home.server_log("1"), password, server_conf(home, "1")))
            assert server.ask("POST", "/manage_addFolder", "id=kept")[0] in (200, 302)
        with storage(home):
            assert server.ask("GET", "/kept/getId") == (200, "kept")
            servers.close()


def test_the_site_runs_without_zenwebserver_too(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    password = created(home).password
    monkeypatch.setenv("ZENHOME", str(home.path))
    with booted(home.server_log("1"), password, home.zope_conf, home.zope_ini) as server:
        assert server.ask("GET", "/manage_main")[0] == 200
        assert server.ask("GET", "/manage_main", password="wrong")[0] == 401
    assert "[Zope:" in home.server_log("1").read_text()
    assert create(home) is None
