"""Slow pages and slow uploads are answered whole while an admin changes the pool; the bound cuts what outlasts it."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import psutil
import pytest
from harness import Answer, Site, wait_until


def in_background(ask: Callable[[], Answer]) -> Future[Answer]:
    with_one = ThreadPoolExecutor(1)
    future = with_one.submit(ask)
    with_one.shutdown(wait=False)
    return future


def ask_slowly(site: Site, seconds: float, **where: int) -> Future[Answer]:
    """A page that takes its time; returns when a server works on it."""
    before = busy(site)
    answer = in_background(lambda: site.get(f"/slow?seconds={seconds}", **where))
    wait_until(lambda: busy(site) > before, "a server works on it")
    return answer


def busy(site: Site) -> int:
    """Connections that servers have taken from nginx or a client."""
    ports = {site.server_port(number) for number in range(1, 5)}
    return sum(
        each.status == psutil.CONN_ESTABLISHED and each.laddr.port in ports for each in psutil.net_connections("tcp4")
    )


class SlowUpload(threading.Thread):
    """A POST whose body arrives piece by piece, until `finish`."""

    def __init__(self, site: Site, ident: str) -> None:
        super().__init__()
        self.answer = b""
        self._may_end = threading.Event()
        self._site = site
        self._body = f"id={ident}&filler=".encode() + b"x" * 200_000
        self.start()

    def run(self) -> None:
        with socket.create_connection(("127.0.0.1", self._site.port), timeout=60) as connection:
            head = (
                f"POST /store HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(self._body)}\r\nConnection: close\r\n"
            )
            connection.sendall(head.encode() + b"Content-Type: application/x-www-form-urlencoded\r\n\r\n")
            pieces = [self._body[start : start + 10_000] for start in range(0, len(self._body), 10_000)]
            for piece in pieces[:-1]:
                connection.sendall(piece)
                self._may_end.wait(0.1)
            self._may_end.wait()
            connection.sendall(pieces[-1])
            while part := connection.recv(65536):
                self.answer += part

    def finish(self) -> bytes:
        self._may_end.set()
        self.join(60)
        return self.answer


def test_a_slow_page_is_answered_whole_through_every_change(running: Site) -> None:
    on_server_2 = ask_slowly(running, 3, port=running.server_port(2))
    running.ok("detach", "2")
    assert on_server_2.result().text.split()[0] == str(running.pid("zope2"))
    running.ok("attach", "2")
    for change in ("restart", "deploy 1", "stop"):
        slow = [ask_slowly(running, 3) for _ in range(2)]
        running.ok(*change.split())
        assert [answer.result().status for answer in slow] == [200, 200], change
        assert all(answer.result().text.endswith("slept") for answer in slow)
    wait_until(lambda: not running.processes(), "nothing is left")


def test_an_upload_arrives_whole_across_a_restart_a_detach_and_a_smaller_pool(running: Site) -> None:
    for change in ("restart", "detach 2", "attach 2", "deploy 1"):
        upload = SlowUpload(running, f"upload-{change.replace(' ', '-')}")
        changing = running.popen(*change.split())
        if change == "restart":
            assert changing.wait(60) == 0  # it need not wait for a client; the others do
        else:
            upload._may_end.wait(1)
        answer = upload.finish()
        assert b" 200 " in answer.split(b"\r\n")[0], (change, answer[:300])
        assert changing.wait(60) == 0
        assert running.get(f"/count?id=upload-{change.replace(' ', '-')}").text == "1"


def test_what_outlasts_the_drain_timeout_is_cut_off_and_named_in_the_log(make_site: Callable[..., Site]) -> None:
    site = make_site(drainTimeout=1).init().use("store")
    site.ok("start")
    slow = ask_slowly(site, 20, port=site.server_port(1))
    began = time.monotonic()
    site.ok("restart", "server1")
    wait_until(lambda: "Cut off after the drain timeout: GET /slow" in site.log("zope1"), "the log names it")
    assert time.monotonic() - began < 15
    with pytest.raises(Exception):  # noqa: B017 - whichever way the connection breaks
        slow.result()
    slow = ask_slowly(site, 20)
    site.ok("stop", timeout=30)
    wait_until(lambda: not site.processes(), "nothing is left")
    assert "outlasted" in site.log() or "still serves requests after the drain timeout" in site.log()
    with contextlib.suppress(OSError):  # cut off, or told
        assert slow.result().status >= 500


def test_a_signal_to_the_supervisor_is_a_stop_in_the_right_order(running: Site) -> None:
    ends: dict[str, float] = {}

    def note_end(name: str, process: psutil.Process) -> None:
        process.wait()
        ends[name] = time.monotonic()

    watches = [
        threading.Thread(target=note_end, args=(name, psutil.Process(running.pid(name))))
        for name in ("nginx", "zope1", "zope2", "storage", "supervisor")
    ]
    for watch in watches:
        watch.start()
    slow = ask_slowly(running, 3)
    psutil.Process(running.pid("supervisor")).send_signal(signal.SIGTERM)
    answer = slow.result()
    assert (answer.status, answer.text.endswith("slept")) == (200, True)
    for watch in watches:
        watch.join(60)
    assert ends["nginx"] < min(ends["zope1"], ends["zope2"])
    assert max(ends["zope1"], ends["zope2"]) < ends["storage"] < ends["supervisor"]
    wait_until(lambda: not running.processes(), "nothing is left")
    assert running.run("status").out == "not running\n"
    running.ok("start")
    assert running.get("/who").status == 200
