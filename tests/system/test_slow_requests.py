"""Slow pages and slow uploads are answered whole while an admin changes the pool; the bound cuts what outlasts it."""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import signal
import socket
import threading
from collections.abc import Callable

import psutil
import pytest
from harness import COMMAND_SECONDS, WAIT_SECONDS, Site, wait_until
from slow import SlowPage

LONG = 600  # seconds; longer than anything waits here


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
        with socket.create_connection(("127.0.0.1", self._site.port), timeout=WAIT_SECONDS) as connection:
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
        self.join()
        return self.answer


class Ends:
    """Notes in which order processes end, as the kernel tells it; those that end at once have the same number."""

    def __init__(self, site: Site, *names: str) -> None:
        self.seen: dict[str, int] = {}
        self._names = {os.pidfd_open(site.pid(name)): name for name in names}
        self._watch = threading.Thread(target=self._note)
        self._watch.start()

    def all(self) -> dict[str, int]:
        wait_until(lambda: len(self.seen) == len(self._names), f"all end: {self.seen}")
        return self.seen

    def close(self) -> None:
        self._watch.join()
        for descriptor in self._names:
            os.close(descriptor)

    def _note(self) -> None:
        left, number = set(self._names), 0
        while left and (ended := select.select(left, [], [], WAIT_SECONDS)[0]):
            self.seen |= {self._names[descriptor]: number for descriptor in ended}
            left, number = left - set(ended), number + 1


def test_a_slow_page_is_answered_whole_through_every_change(running: Site) -> None:
    on_server_2 = SlowPage(running, 3, port=running.server_port(2))
    running.ok("detach", "2")
    assert on_server_2.answer().text.split()[0] == str(running.pid("zope2"))
    running.ok("attach", "2")
    for change in ("restart", "deploy 1", "stop"):
        slow = [SlowPage(running, 3) for _ in range(2)]
        running.ok(*change.split())
        assert [page.answer().status for page in slow] == [200, 200], change
        assert all(page.answer().text.endswith("slept") for page in slow)
    wait_until(lambda: not running.processes(), "nothing is left")


def test_an_upload_arrives_whole_across_a_restart_a_detach_and_a_smaller_pool(running: Site) -> None:
    for change in ("restart", "detach 2", "attach 2", "deploy 1"):
        upload = SlowUpload(running, f"upload-{change.replace(' ', '-')}")
        begun = running.log().count("Begin: ")
        changing = running.popen(*change.split())
        if change == "restart":
            assert changing.wait(COMMAND_SECONDS) == 0  # it need not wait for a client; the others do
        else:
            wait_until(lambda begun=begun: running.log().count("Begin: ") > begun, "it has begun")
        answer = upload.finish()
        assert b" 200 " in answer.split(b"\r\n")[0], (change, answer[:300])
        assert changing.wait(COMMAND_SECONDS) == 0
        assert running.get(f"/count?id=upload-{change.replace(' ', '-')}").text == "1"


def test_what_outlasts_the_drain_timeout_is_cut_off_and_named_in_the_log(make_site: Callable[..., Site]) -> None:
    site = make_site(drainTimeout=1).init().use("store")
    site.ok("start")
    slow = SlowPage(site, LONG, port=site.server_port(1))
    site.ok("restart", "server1")
    wait_until(lambda: "Cut off after the drain timeout: GET /slow" in site.log("zope1"), "the log names it")
    with pytest.raises((OSError, http.client.HTTPException)):  # whichever way the connection breaks
        slow.answer()
    slow = SlowPage(site, LONG)
    site.ok("stop")
    wait_until(lambda: not site.processes(), "nothing is left")
    assert "cut off the requests that outlasted the drain timeout" in site.log()
    with contextlib.suppress(OSError, http.client.HTTPException):  # cut off, or told
        assert slow.answer().status >= 500


def test_a_signal_to_the_supervisor_is_a_stop_in_the_right_order(running: Site) -> None:
    slow = SlowPage(running, LONG)
    with contextlib.closing(Ends(running, "nginx", "zope1", "zope2", "storage", "supervisor")) as ends:
        psutil.Process(running.pid("supervisor")).send_signal(signal.SIGTERM)
        wait_until(lambda: "Told to end by a signal" in running.log(), "it has heard it")
        assert ends.seen == {}, "they wait for the page"
        slow.let_go()
        answer = slow.answer()
        assert (answer.status, answer.text.endswith("slept")) == (200, True)
        seen = ends.all()
    assert seen["nginx"] <= min(seen["zope1"], seen["zope2"])
    assert max(seen["zope1"], seen["zope2"]) <= seen["storage"] <= seen["supervisor"]
    wait_until(lambda: not running.processes(), "nothing is left")
    assert running.run("status").out == "not running\n"
    running.ok("start")
    assert running.get("/who").status == 200
