"""A UDP port that stays ours while a process that inherited it lives, and who speaks to it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from zenwebserver.machine import datagrams

DEBIANS_PYTHON = "/usr/bin/python3"  # another user cannot run this one, which may stand in root's own folder
ANOTHER = 65534
BIND = """
import socket, sys
family, host, port, shared = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
found = socket.socket(socket.AF_INET6 if family == "6" else socket.AF_INET, socket.SOCK_DGRAM)
found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, shared)
found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
try:
    found.bind((host, port))
except OSError as error:
    print(error.errno)
else:
    print("bound")
"""


@pytest.fixture
def held() -> Iterator[ExitStack]:
    with ExitStack() as held:
        yield held


def visitor(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.settimeout(5)
    made.connect(("127.0.0.1", port))
    return made


def another_user_binds(port: int, host: str, shared: bool) -> str:
    family = "6" if ":" in host else "4"
    arguments = [DEBIANS_PYTHON, "-c", BIND, family, host, str(port), str(int(shared))]
    return subprocess.run(arguments, user=ANOTHER, group=ANOTHER, capture_output=True, text=True).stdout.strip()


def test_all_that_is_asked_reaches_who_answers_and_nothing_who_holds_the_port(held: ExitStack) -> None:
    ours = held.enter_context(datagrams.bind(0))
    holder = held.enter_context(datagrams.hold(port := ours.getsockname()[1]))
    for number in range(100):
        client = held.enter_context(visitor(port))
        client.send(b"%d" % number)
        assert ours.recv(10) == b"%d" % number
    with pytest.raises(BlockingIOError):
        holder.recv(10)


def test_the_same_user_answers_again_at_a_port_that_is_held(held: ExitStack) -> None:
    ours = datagrams.bind(0)
    held.enter_context(datagrams.hold(port := ours.getsockname()[1]))
    client = held.enter_context(visitor(port))
    ours.close()
    client.send(b"nobody hears it")
    with pytest.raises(ConnectionRefusedError):
        client.recv(10)
    again = held.enter_context(datagrams.bind(port))
    client.send(b"heard")
    assert again.recv(10) == b"heard"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::", "::ffff:127.0.0.1"])
def test_another_user_cannot_take_it_while_a_process_that_inherited_it_lives(host: str, shared: bool) -> None:
    with datagrams.bind(0) as ours, datagrams.hold(port := ours.getsockname()[1]) as holder:
        heir = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[holder.fileno()])
    try:
        assert datagrams.held(heir.pid) == port
        assert another_user_binds(port, host, shared) == "98", "EADDRINUSE"
    finally:
        heir.communicate(b"\n")
    assert another_user_binds(port, host, shared) == "bound", "the test can tell"


def test_who_speaks_to_a_port_is_known_and_whether_the_answer_was_read(held: ExitStack) -> None:
    ours = held.enter_context(datagrams.bind(0))
    port = ours.getsockname()[1]
    assert datagrams.speakers([os.getpid()], port) == set()
    client = held.enter_context(visitor(port))
    asker = client.getsockname()[1]
    assert datagrams.speakers([os.getpid()], port) == {asker}
    assert datagrams.speakers([1_000_000_000], port) == set()
    assert not datagrams.has_unread(asker, port)
    ours.sendto(b"answer", ("127.0.0.1", asker))
    assert datagrams.has_unread(asker, port)
    client.recv(10)
    assert not datagrams.has_unread(asker, port)


def test_who_holds_nothing_is_told_apart() -> None:
    with datagrams.bind(0) as ours, visitor(ours.getsockname()[1]):
        assert datagrams.held(os.getpid()) is None
    assert datagrams.held(1_000_000_000) is None
