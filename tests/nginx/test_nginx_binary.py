from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.machine.identity import Identity
from zenwebserver.nginx import binary as binaries
from zenwebserver.nginx.binary import Capabilities, ask, embedded, parse
from zenwebserver.nginx.control import verify

DEBIAN_12 = """nginx version: nginx/1.22.1
built with OpenSSL 3.0.20 7 Apr 2026 (running with OpenSSL 3.0.19 27 Jan 2026)
TLS SNI support enabled
configure arguments: --with-cc-opt='-g -O2' --prefix=/usr --with-http_ssl_module --with-http_v2_module
"""


def refusal(path: Path) -> ZenwebserverError:
    with pytest.raises(ZenwebserverError) as caught:
        asyncio.run(ask(path))
    assert "etc/zenwebserver.conf" in caught.value.hint
    return caught.value


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_real_nginx_tells_what_it_can_do(binary: Path) -> None:
    capabilities = asyncio.run(ask(binary))
    assert capabilities.version >= (1, 22)
    assert capabilities.ssl
    assert capabilities.missing == ()


def test_the_embedded_one_can_keep_connections_over_a_reload() -> None:
    assert asyncio.run(ask(embedded())).keepalive_min_timeout


def test_debians_is_understood() -> None:
    assert parse(DEBIAN_12) == Capabilities((1, 22, 1), ssl=True, http2=True)
    assert not parse(DEBIAN_12).keepalive_min_timeout
    assert (parse(DEBIAN_12).http2_directive, parse(DEBIAN_12).http2_word) == (False, True)


@pytest.mark.parametrize(
    ("version", "has_it"), [("1.27.3", False), ("1.27.4", True), ("1.28.0", True), ("2.0.0", True)]
)
def test_keepalive_min_timeout_came_with_1_27_4(version: str, has_it: bool) -> None:
    assert parse(f"nginx version: nginx/{version}\n").keepalive_min_timeout == has_it


def test_what_was_left_out_is_seen() -> None:
    text = "nginx version: nginx/1.28.0\nconfigure arguments: --without-http_scgi_module --without-http-cache"
    capabilities = parse(text)
    assert (capabilities.scgi, capabilities.uwsgi, capabilities.ssl, capabilities.http2) == (
        False,
        True,
        False,
        False,
    )
    assert capabilities.missing == ("http-cache",)


@pytest.mark.parametrize("name", ["openresty", "tengine", "freenginx"])
def test_other_makes_are_read_by_their_version(name: str) -> None:
    assert parse(f"nginx version: {name}/1.25.3.1\n").version == (1, 25, 3)


@pytest.mark.parametrize("text", ["", "Apache/2.4.57", "nginx version: nginx/x"])
def test_what_is_no_nginx_has_no_capabilities(text: str) -> None:
    with pytest.raises(ValueError, match="no version"):
        parse(text)


def test_a_missing_program_is_said_to_be_missing(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "nginx").message


def test_a_program_that_is_not_executable_is_said_to_be_none(tmp_path: Path) -> None:
    path = script(tmp_path / "nginx", "exit 0")
    path.chmod(0o644)
    assert "not executable" in refusal(path).message


def test_another_program_is_not_nginx(tmp_path: Path) -> None:
    error = refusal(script(tmp_path / "nginx", "echo I am somebody else"))
    assert "not nginx" in error.message
    assert error.detail == "I am somebody else"


def test_where_the_machine_lacks_processes_no_other_nginx_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", fails)
    with pytest.raises(ZenwebserverError, match="cannot be run") as caught:
        asyncio.run(ask(script(tmp_path / "nginx", "exit 0")))
    assert "used up: repeat it" in caught.value.hint


def test_a_file_that_is_no_program_cannot_be_run(tmp_path: Path) -> None:
    path = tmp_path / "nginx"
    path.write_bytes(b"\x7fELF nonsense")
    path.chmod(0o755)
    assert "cannot be run" in refusal(path).message


def test_an_old_nginx_is_too_old(tmp_path: Path) -> None:
    error = refusal(script(tmp_path / "nginx", "echo nginx version: nginx/1.18.0 >&2"))
    assert "1.18.0, 1.22.0 or later" in error.message


def test_an_nginx_without_what_it_needs_is_refused(tmp_path: Path) -> None:
    words = "nginx version: nginx/1.28.0\nconfigure arguments: --without-http_upstream_zone_module"
    error = refusal(script(tmp_path / "nginx", f"printf '%s' '{words}'"))
    assert error.detail == "Missing: http_upstream_zone_module"


@pytest.mark.parametrize("waits", ["exec sleep 60", "sleep 60; exit"])
def test_a_program_that_never_answers_is_ended_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: str
) -> None:
    monkeypatch.setattr(binaries, "ANSWER_SECONDS", 0.2)

    async def in_time() -> None:
        async with asyncio.timeout(20):
            await ask(script(tmp_path / "nginx", waits))

    with pytest.raises(ZenwebserverError, match="did not tell its version"):
        asyncio.run(in_time())


@pytest.mark.parametrize(("writes", "kept"), [(": >", False), ("echo 42 >", True)])
def test_the_pid_file_of_an_nginx_that_starts_while_another_verifies_is_kept(
    tmp_path: Path, writes: str, kept: bool
) -> None:
    """What verifies leaves an empty one."""
    home = Home(tmp_path)
    home.make_folders()
    asyncio.run(verify(script(tmp_path / "nginx", f"{writes} '{home.nginx_pid}'"), home, home.nginx_conf))
    assert home.nginx_pid.exists() is kept


@pytest.mark.parametrize("which", ["ask", "verify"])
def test_who_is_cut_off_while_nginx_is_asked_leaves_nothing_running(tmp_path: Path, which: str) -> None:
    home, pid_file = Home(tmp_path), tmp_path / "pid"
    home.make_folders()
    program = script(tmp_path / "nginx", f"echo $$ > '{pid_file}.new'; mv '{pid_file}.new' '{pid_file}'; exec sleep 60")

    async def cut_off() -> None:
        asks = ask(program) if which == "ask" else verify(program, home, home.nginx_conf)
        asked = asyncio.create_task(asks)
        async with asyncio.timeout(20):
            while not pid_file.exists():
                await asyncio.sleep(0.01)
        asked.cancel()
        await asyncio.wait([asked])
        assert asked.cancelled()
        assert Identity.of(int(pid_file.read_text())) is None

    asyncio.run(cut_off())


def test_a_machine_without_an_embedded_nginx_is_told_so() -> None:
    with pytest.raises(ZenwebserverError, match="no embedded nginx for linux on riscv64"):
        embedded("Linux", "riscv64")
