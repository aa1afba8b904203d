"""What the command does when supervisors end, are exchanged or go away while it asks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from zenwebserver.cli.main import main
from zenwebserver.client import client as clients
from zenwebserver.client.client import Client
from zenwebserver.client.events import CutOff
from zenwebserver.client.start import start_supervisor
from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.machine.identity import Identity
from zenwebserver.machine.unix_sockets import listen_on
from zenwebserver.supervisor.lock import Lock

HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"
WAITS = {"note": "Waiting for: upgrade"}
SENT_ON = {"error": "The supervisor ends", "again": True, "exit": 1}
DONE = {"done": "Started", "exit": 0}


@pytest.fixture
def home() -> Iterator[Home]:
    path = Path(tempfile.mkdtemp(prefix="zws"))
    home = Home.at(path)
    home.make_folders()
    yield home
    shutil.rmtree(path)


@pytest.fixture(autouse=True)
def _no_real_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Home) -> bool:
        raise AssertionError("none of these tests starts a supervisor")

    monkeypatch.setattr(clients, "start_supervisor", refuse)


@pytest.fixture
def answers(home: Home) -> Iterator[Callable[..., list[str]]]:
    """Plays a supervisor that answers one request after the other so, and hangs up after each."""
    threads: list[threading.Thread] = []

    def play(*each: str) -> list[str]:
        asked: list[str] = []
        listener = listen_on(home.control_socket)
        listener.setblocking(True)

        def run() -> None:
            with listener:
                for answer in each:
                    connection, _ = listener.accept()
                    with connection, connection.makefile("rb") as request:
                        asked.append(whole(request))
                        connection.sendall(answer.encode())

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return asked

    yield play
    for thread in threads:
        thread.join(10)


def whole(request: BinaryIO) -> str:
    """The body of a request; what is left unread would reset the connection."""
    length = 0
    while (line := request.readline()).strip():
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return request.read(length).decode()


def lines(*events: dict[str, Any]) -> str:
    return HEAD + "".join(json.dumps(event) + "\n" for event in events)


def sent_on() -> str:
    body = json.dumps(SENT_ON)
    return f"HTTP/1.1 503 Service Unavailable\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"


@pytest.mark.parametrize("first", ["", sent_on(), lines(), lines(SENT_ON), lines(WAITS, SENT_ON)])
def test_where_a_supervisor_goes_before_it_has_begun_the_next_one_is_asked(
    home: Home, answers: Callable[..., list[str]], first: str
) -> None:
    asked = answers(first, lines(DONE))
    events = list(Client(home).operate("start"))
    assert events[-1] == DONE
    assert events[:-1] == ([WAITS] if "Waiting" in first else [])
    assert len(asked) == 2


def test_where_it_goes_in_the_middle_that_is_said_and_nothing_is_asked_twice(
    home: Home, answers: Callable[..., list[str]]
) -> None:
    head = HEAD.replace("Connection: close", "Transfer-Encoding: chunked")
    asked = answers(head + '10\r\n{"begin": "one"}\r\n')
    with pytest.raises(CutOff, match="it ended"):
        list(Client(home).operate("deploy", size="+1"))
    assert len(asked) == 1


CHUNKED = HEAD.replace("Connection: close", "Transfer-Encoding: chunked")
BEGUN = '{"begin": "Deploying Server 3"}\n'


@pytest.mark.parametrize(
    ("answer", "during"),
    [
        (CHUNKED + f"{len(BEGUN):x}\r\n{BEGUN}\r\n", " during: Deploying Server 3 (it ended)"),
        (CHUNKED + f"{len(BEGUN):x}\r\n{BEGUN}\r\n0\r\n\r\n", " during: Deploying Server 3"),
        (HEAD + BEGUN, " during: Deploying Server 3"),
        (HEAD + BEGUN + '{"end": "Depl', " during: Deploying Server 3 (it ended)"),
        (HEAD + BEGUN + '{"end": "Deploying Server 3", "ok": true}\n', " before it said how it ended"),
    ],
)
def test_a_command_whose_answer_is_cut_says_what_was_under_way_and_that_its_end_is_unknown(
    home: Home,
    answers: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    answer: str,
    during: str,
) -> None:
    home.settings_file.parent.mkdir(parents=True, exist_ok=True)
    home.settings_file.touch()
    monkeypatch.setenv("ZENHOME", str(home.path))
    monkeypatch.setattr(sys, "argv", ["zenwebserver", "deploy", "+1"])
    answers(answer)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capfd.readouterr().err == (
        f"zenwebserver: The supervisor went away{during}\n"
        "How that ended is not known; what runs goes on. To see how it stands: zenwebserver status\n"
    )


def test_nobody_is_asked_for_ever(home: Home, answers: Callable[..., list[str]]) -> None:
    asked = answers(*[sent_on()] * clients.TRIES)
    with pytest.raises(ZenwebserverError, match="had begun"):
        list(Client(home).operate("start"))
    assert len(asked) == clients.TRIES


def test_upgrade_asks_for_the_supervisor_of_its_own_installation(
    home: Home, answers: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "ANSWER_SECONDS", 0.1)  # the process that is played does not end
    asked = answers(lines({"done": "Upgraded", "exit": 0}))
    assert list(Client(home).upgrade()) == [{"done": "Upgraded", "exit": 0}]
    assert json.loads(asked[0]) == {"python": sys.executable}


def test_where_an_upgrade_fails_nobody_waits_for_the_end_of_the_one_that_goes_on(
    home: Home, answers: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def waits(_: Client) -> bool:
        raise AssertionError("it does not end")

    monkeypatch.setattr(Client, "_wait_until_gone", waits)
    failed = {"error": "The new supervisor did not take over", "exit": 1}
    answers(lines({"begin": "Starting the new supervisor"}, failed))
    assert list(Client(home).upgrade())[-1] == failed


OF_AN_EARLIER_VERSION = """
import os, socket, sys, time
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1] + ".new")
listener.listen()
os.rename(sys.argv[1] + ".new", sys.argv[1])
connection, _ = listener.accept()
while not connection.recv(65536).endswith(b"}"):
    pass
connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: 2\\r\\n\\r\\n{}")
time.sleep(0.3)
"""


def test_a_supervisor_of_an_earlier_version_makes_room_and_the_next_one_is_started_once_it_has_ended(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = subprocess.Popen([sys.executable, "-c", OF_AN_EARLIER_VERSION, home.control_socket])
    while not home.control_socket.exists():
        time.sleep(0.01)
    waits = threading.Thread(target=former.wait)  # as whoever started it does
    waits.start()
    started: list[Identity | None] = []
    monkeypatch.setattr(clients, "start_supervisor", lambda _: started.append(Identity.of(former.pid)))
    assert list(Client(home).upgrade()) == [{"done": "Upgraded", "exit": 0}]
    assert started == [None]
    waits.join()


def test_a_supervisor_that_was_robbed_of_its_socket_is_given_the_time_to_make_it_anew(
    home: Home, answers: Callable[..., list[str]]
) -> None:
    lock = Lock.take(home)
    later = threading.Timer(0.3, lambda: answers(lines({"change": ""})))
    later.start()
    assert Client(home).status() == {"change": ""}
    later.join()
    lock.release()
    home.control_socket.unlink()
    assert Client(home).status() is None
    assert not Client(home).runs_something()


@pytest.mark.real  # what it starts plays a supervisor
@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("print('a warning'); print('ready')", True),
        ("print('running')", False),
        ("print('Permission denied')", "Permission denied"),
        ("raise SystemExit('no module')", "no module"),
    ],
)
def test_what_the_start_of_a_supervisor_comes_to_is_its_last_word(
    home: Home, monkeypatch: pytest.MonkeyPatch, program: str, words: bool | str
) -> None:
    python = home.path / "python"
    python.write_text(f"#!{sys.executable}\nimport os, sys\nsys.stdout = os.fdopen(int(sys.argv[4]), 'w')\n{program}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    if isinstance(words, bool):
        assert start_supervisor(home) is words
        return
    with pytest.raises(ZenwebserverError, match="cannot start") as error:
        start_supervisor(home)
    assert words in error.value.detail


@pytest.mark.real  # what it starts plays a supervisor
def test_a_supervisor_that_cannot_start_in_a_home_that_cannot_be_written_says_what_to_do(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    unwritable: set[Path] = set()
    monkeypatch.setattr(os, "access", lambda path, _: path not in unwritable)
    with pytest.raises(ZenwebserverError) as error:
        start_supervisor(home)
    assert error.value.hint == f"Its log: {home.supervisor_log}"
    unwritable.add(home.log)
    with pytest.raises(ZenwebserverError) as error:
        start_supervisor(home)
    assert error.value.hint.startswith(f"{home.log} cannot be written: a home holds ")
    assert error.value.hint.endswith("or set ZENHOME to another folder.")


@pytest.mark.parametrize("command", ["status", "upgrade", "threads 1"])
def test_a_supervisor_that_does_not_answer_is_not_said_to_be_gone(
    home: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.setenv("ZENHOME", str(home.path))
    monkeypatch.setattr(sys, "argv", ["zenwebserver", *command.split()])
    home.pool_record.write_text('{"servers": {"1": {"attached": true}}}')
    monkeypatch.setattr(clients, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(clients, "FOUND_SECONDS", 0.1)
    lock = Lock.take(home)
    with listen_on(home.control_socket), pytest.raises(SystemExit):
        main()
    lock.release()
    said = "".join(capfd.readouterr())
    assert "The supervisor runs but does not answer" in said
    assert "not running; to take over" not in said


def test_a_supervisor_that_does_not_answer_yet_is_waited_for_and_that_is_said(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "ANSWER_SECONDS", 0.2)
    listener = listen_on(home.control_socket)
    listener.setblocking(True)

    def answer_at_last() -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as request:
            whole(request)
            may_answer.wait(10)
            connection.sendall(lines(DONE).encode())

    may_answer = threading.Event()
    supervisor = threading.Thread(target=answer_at_last)
    supervisor.start()
    events = Client(home).operate("start")
    assert next(events)["note"].startswith("The supervisor runs but does not answer yet. Its log: ")
    may_answer.set()
    assert list(events) == [DONE]
    supervisor.join()
    listener.close()


LIKE_A_SUPERVISOR = ["-c", "import sys; print(); sys.stdout.flush(); sys.stdin.read()", "-m", "zenwebserver.supervisor"]


@pytest.mark.real  # a process that is called like a supervisor
@pytest.mark.parametrize(
    ("command", "done"),
    [
        *((command, False) for command in ("status", "stop", "start", "reload", "upgrade", "configure", "verify")),
        *((command, False) for command in ("attach 1", "detach 1", "threads 1")),
        ("status", True),
        ("stop", True),
        ("upgrade", True),
    ],
)
def test_a_supervisor_whose_home_was_removed_is_told_of_and_gets_no_second_one(
    home: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], command: str, done: bool
) -> None:
    monkeypatch.setenv("ZENHOME", str(home.path))
    monkeypatch.setattr(sys, "argv", ["zenwebserver", *command.split()])
    monkeypatch.setattr(clients, "start_supervisor", start_supervisor)
    shutil.rmtree(home.path)
    with subprocess.Popen(
        [sys.executable, *LIKE_A_SUPERVISOR, str(home.path), "5"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as supervisor:
        assert supervisor.stdout
        assert supervisor.stdout.readline()
        if done:
            supervisor.communicate()
        with pytest.raises(SystemExit) as ended:
            main()
        said = "".join(capfd.readouterr())
        assert (f"its supervisor, pid {supervisor.pid}, still runs" in said) is not done
        assert ended.value.code == (2 if done and command != "status" else 1), "there is no home"
        assert not home.path.exists()
    home.path.mkdir()
