"""What keeps a site from being forked is named so that an admin can find it."""

from __future__ import annotations

import re
import socket
import subprocess
import sys

import pytest

CHECK = """
import os, socket, sys, threading
from zenwebserver.worker.preload import Unsafe, check_fork_safety, connections
before = connections()
{site}
try:
    check_fork_safety(before)
except Unsafe as unsafe:
    print(unsafe)
sys.stdout.flush()
os._exit(0)  # whatever it started
"""


def why_unsafe(site: str) -> str:
    """What is told of a process that has run `site`; empty where it can be forked."""
    ran = subprocess.run([sys.executable, "-c", CHECK.format(site=site)], capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def test_what_leaves_nothing_behind_can_be_forked() -> None:
    site = "socket.socket().close(); thread = threading.Thread(target=int); thread.start(); thread.join()"
    assert why_unsafe(site) == ""


def test_a_thread_that_python_does_not_know_is_told_once_it_had_the_time_to_end() -> None:
    site = "import time, _thread; _thread.start_new_thread(time.sleep, ({},))"
    assert why_unsafe(site.format(0.2)) == ""
    assert why_unsafe(site.format(600)) == "loading the site started a thread outside Python"


def test_a_thread_is_named() -> None:
    site = "threading.Thread(target=threading.Event().wait, name='poller of prices').start()"
    assert why_unsafe(site) == "loading the site started a thread: poller of prices"


def test_a_socket_that_was_open_before_is_no_reason() -> None:
    assert why_unsafe("kept = socket.socket(); before = connections()") == ""


@pytest.mark.parametrize(
    ("family", "host", "shown"),
    [("AF_INET", "127.0.0.1", r"tcp {} 127\.0\.0\.1:\d+"), ("AF_INET6", "::1", r"tcp6 {} \[::1\]:\d+")],
)
def test_a_tcp_socket_is_named_by_its_address(family: str, host: str, shown: str) -> None:
    if family == "AF_INET6" and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    listens = f"one = socket.socket(socket.{family}); one.bind(('{host}', 0)); one.listen()"
    assert re.search(f"left a connection open: {shown.format('at')}$", why_unsafe(listens))
    connects = f"{listens}; before = connections(); other = socket.create_connection(one.getsockname()[:2])"
    assert re.search(f"left a connection open: {shown.format('to')}$", why_unsafe(connects))


def test_a_unix_socket_is_named_by_its_path() -> None:
    site = "one = socket.socket(socket.AF_UNIX); one.bind('\\0zenwebserver-test-%d' % os.getpid()); one.listen()"
    assert re.search(r"left a connection open: unix @zenwebserver-test-\d+$", why_unsafe(site))
