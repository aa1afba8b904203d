"""A zygote says how it stands, forks servers when it is told, and outlives whatever goes wrong with one."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from supervisor_end import Call, SupervisorEnd, running

from zenwebserver.worker.messages import Order, OrderName, ServerSpec, WorkerState, ZygoteSpec, encode

# Loading the site, and being a server of it, are LOAD and SERVE; all else is the zygote as it is.
PROGRAM = """
import errno, os, signal, sys
from zenwebserver.worker import forking, holes, preload, zygote

def free_bytes():
    return sum(size * free for size, free in holes.free_places())

def load(zope_ini, zope_conf):
    LOAD

class Server:
    def __init__(self, spec, *, forked):
        self.spec = spec

    def run(self):
        SERVE
        return 0

preload.preload = load
zygote.ServerProcess = Server
sys.exit(zygote.main(sys.argv[1]))
"""
SAYS_WHO_IT_IS = 'print("this is server", self.spec.server)'


@contextlib.contextmanager
def zygote(
    supervisor: SupervisorEnd, log: Path, *, load: str = "pass", serve: str = SAYS_WHO_IT_IS
) -> Iterator[subprocess.Popen[str]]:
    spec = ZygoteSpec("7", "/s/zope.ini", "/s/release7.conf", supervisor.path, token="t1")
    argument = json.dumps({**json.loads(encode(spec)), "a later key": 1})
    program = PROGRAM.replace("LOAD", load).replace("SERVE", serve)
    with running(program, argument, log) as process:
        yield process


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The zygote's."""
    return tmp_path / "zygote.log"


def fork(name: str, log: Path) -> Order:
    spec = ServerSpec(name, "/s/zope.ini", f"/s/zope{name}.conf", 4, token=f"t-{name}")
    return Order(OrderName.FORK, server=spec, log=str(log))


def wait_for_end(pid: int) -> None:
    """Of a process that may be no child of this one."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            assert select.select([descriptor], [], [], 10)[0]
        finally:
            os.close(descriptor)


def forks(call: Call, name: str, log: Path) -> int:
    """The pid of a server that was forked."""
    call.tell(fork(name, log))
    forked = call.hear().forked
    assert forked
    assert (forked.token, forked.failure) == (f"t-{name}", "")
    return forked.pid


def test_it_says_when_it_is_ready_and_whose_order_it_was_made_for(supervisor: SupervisorEnd, log: Path) -> None:
    with zygote(supervisor, log) as process:
        standing = supervisor.answer().standing
        assert (standing.state, standing.zygote, standing.token) == (WorkerState.READY, "7", "t1")
        assert (standing.pid, standing.server) == (process.pid, "")


def test_a_server_is_forked_with_a_log_of_its_own(supervisor: SupervisorEnd, log: Path, tmp_path: Path) -> None:
    with zygote(supervisor, log) as process:
        call = supervisor.answer()
        pids = [forks(call, name, tmp_path / f"{name}.log") for name in ("3", "4")]
        assert len({process.pid, *pids}) == 3
        for name, pid in zip(("3", "4"), pids, strict=True):
            wait_for_end(pid)
            assert (tmp_path / f"{name}.log").read_text() == f"this is server {name}\n"


@pytest.mark.parametrize(
    ("broken", "failure"),
    [
        ("FIRST and fails(errno.ENOMEM)", "could not be forked: [Errno 12] Cannot allocate memory"),
        ("not FIRST and fails(errno.EAGAIN)", "could not be forked: [Errno 11] Resource temporarily unavailable"),
        ("not FIRST and os.kill(os.getpid(), signal.SIGSTOP)", "could not be forked within 0.1 s"),
        ("not FIRST and os.kill(os.getpid(), signal.SIGSEGV)", "was killed by SIGSEGV"),
    ],
)
def test_a_fork_that_fails_is_told_and_the_next_one_succeeds(
    supervisor: SupervisorEnd, log: Path, tmp_path: Path, broken: str, failure: str
) -> None:
    load = f"""
    zygote_pid, fork = os.getpid(), os.fork
    def fails(number):
        raise OSError(number, os.strerror(number))
    def fails_once():
        FIRST = os.getpid() == zygote_pid
        if not os.path.exists({str(tmp_path / "mended")!r}):
            {broken}
        return fork()
    os.fork, forking.FORK_SECONDS = fails_once, 0.1
"""
    with zygote(supervisor, log, load=load):
        call = supervisor.answer()
        call.tell(fork("3", tmp_path / "3.log"))
        forked = call.hear().forked
        assert forked
        assert (forked.token, forked.pid, forked.failure) == ("t-3", 0, failure)
        assert not (tmp_path / "3.log").exists()
        (tmp_path / "mended").touch()
        wait_for_end(forks(call, "3", tmp_path / "3.log"))
        assert (tmp_path / "3.log").read_text() == "this is server 3\n"


def test_a_server_whose_log_cannot_be_opened_serves_and_writes_into_the_zygotes(
    supervisor: SupervisorEnd, log: Path, tmp_path: Path
) -> None:
    with zygote(supervisor, log, serve='print("this is server 3", file=sys.stderr)'):
        call = supervisor.answer()
        wait_for_end(forks(call, "3", tmp_path / "no folder" / "3.log"))
        wait_for_end(forks(call, "3", Path("a \0 that no name has")))
    written = log.read_text()
    assert written.count("this is server 3") == 2
    assert f"No such file or directory: '{tmp_path}/no folder/3.log'" in written


def test_a_forked_server_has_nothing_of_the_zygotes_line(supervisor: SupervisorEnd, log: Path, tmp_path: Path) -> None:
    serve = 'print(*(os.path.realpath(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")))'
    reading, writing = os.pipe()
    with zygote(supervisor, log, serve=serve):
        call = supervisor.answer()
        order = encode(fork("3", tmp_path / "3.log"))
        call.send(order + b'{"order"', writing)  # and what came with the next order is not for it
        os.close(writing)
        forked = call.hear().forked
        assert forked
        wait_for_end(forked.pid)
    os.close(reading)
    has = (tmp_path / "3.log").read_text()
    assert "3.log" in has
    assert "socket:" not in has
    assert "pipe:" not in has.replace("pipe:", "", 1)  # its standard input


def test_a_zygote_that_is_killed_hangs_up_though_its_servers_live(
    supervisor: SupervisorEnd, log: Path, tmp_path: Path
) -> None:
    with zygote(supervisor, log, serve="signal.pause()") as process:
        call = supervisor.answer()
        pid = forks(call, "3", tmp_path / "3.log")
        process.kill()
        assert call.hears_hang_up()
        os.kill(pid, signal.SIGKILL)


def test_it_calls_again_when_it_is_hung_up_on(supervisor: SupervisorEnd, log: Path, tmp_path: Path) -> None:
    with zygote(supervisor, log):
        supervisor.answer().hang_up()
        call = supervisor.answer()
        assert call.standing.state is WorkerState.READY
        wait_for_end(forks(call, "3", tmp_path / "3.log"))


def test_what_is_no_order_for_a_zygote_is_ignored_and_told(
    supervisor: SupervisorEnd, log: Path, tmp_path: Path
) -> None:
    with zygote(supervisor, log):
        call = supervisor.answer()
        call.send(b'{"order": "dance"}\n')
        call.tell(Order(OrderName.LEAVE))
        call.tell(Order(OrderName.FORK))
        wait_for_end(forks(call, "3", tmp_path / "3.log"))
    told = log.read_text()
    assert "What is no order is ignored: no OrderName: 'dance'" in told
    assert "A zygote does not leave: the order is ignored" in told
    assert "A zygote cannot fork without knowing which server: the order is ignored" in told


@pytest.mark.parametrize("log_name", ["zygote.log", "/dev/full"])
def test_why_it_could_not_be_loaded_is_told_before_it_ends(
    supervisor: SupervisorEnd, tmp_path: Path, log_name: str
) -> None:
    with zygote(supervisor, tmp_path / log_name, load="raise KeyError('prices')") as process:
        standing = supervisor.answer().standing
        assert (standing.state, standing.token) == (WorkerState.FAILED, "t1")
        assert standing.reason.endswith("KeyError: 'prices'\n")
        assert process.wait(10) != 0


def test_why_it_cannot_be_forked_is_told_before_it_ends(supervisor: SupervisorEnd, log: Path) -> None:
    with zygote(supervisor, log, load="raise preload.Unsafe('a thread: prices')") as process:
        standing = supervisor.answer().standing
        assert (standing.state, standing.reason) == (WorkerState.UNSAFE, "a thread: prices")
        assert process.wait(10) == 1


def test_a_server_finds_the_holes_in_pythons_memory_filled(
    supervisor: SupervisorEnd, log: Path, tmp_path: Path
) -> None:
    load = """
    global made
    made = [bytes(size) for size in range(400) for _ in range(1000)]
    del made[::2]
    print(free_bytes(), file=sys.stderr)
"""
    with zygote(supervisor, log, load=load, serve="print(free_bytes())"):
        wait_for_end(forks(supervisor.answer(), "3", tmp_path / "3.log"))
    before, after = int(log.read_text()), int((tmp_path / "3.log").read_text())
    assert before > 1_000_000
    assert after < before / 4


def test_a_signal_from_a_terminal_is_not_for_a_forked_server(
    supervisor: SupervisorEnd, log: Path, tmp_path: Path
) -> None:
    serve = "import signal; print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    with zygote(supervisor, log, load="import signal; signal.signal(signal.SIGINT, signal.SIG_DFL)", serve=serve):
        wait_for_end(forks(supervisor.answer(), "3", tmp_path / "3.log"))
    assert (tmp_path / "3.log").read_text() == "True\n"


def test_what_a_zygote_has_made_is_kept_from_the_garbage_collector(
    supervisor: SupervisorEnd, log: Path, tmp_path: Path
) -> None:
    with zygote(supervisor, log, serve="import gc; print(gc.get_freeze_count(), len(gc.get_objects()))"):
        wait_for_end(forks(supervisor.answer(), "3", tmp_path / "3.log"))
    frozen, others = map(int, (tmp_path / "3.log").read_text().split())
    assert frozen > 10 * others
