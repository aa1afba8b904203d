"""debug: one more server, in the foreground of a terminal that a debugger can use."""

from __future__ import annotations

import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness import Site, wait_until
from terminal import CONTROL_C, Terminal

SITE = "debugger"


def port_of(terminal: Terminal) -> int:
    """Wait until it answers; the port of the address that it prints."""
    port = int(terminal.expect(r"http://127\.0\.0\.1:(\d+)/")[1])
    terminal.expect("Accepting connections")
    return port


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def traces(site: Site) -> list[Path]:
    """What a debug server must not leave behind."""
    return [*site.home.glob("etc/zope/*debug*"), *site.home.glob("var/*debug*"), *site.home.glob("var/run/*debug*")]


def debug_processes(site: Site) -> list[int]:
    return [process.pid for process in site.processes() if any("zopedebug.conf" in word for word in process.cmdline())]


def left_nothing(site: Site) -> bool:
    return not traces(site) and not debug_processes(site)


def test_it_answers_at_once_in_debug_mode_by_its_direct_address_outside_the_pool(shared: Site) -> None:
    before = shared.ok("status", "-v").out
    with Terminal(shared, "debug") as terminal:
        port = port_of(terminal)
        assert port == shared.server_port(3)
        pid, mode = shared.get("/mode", port=port).text.split()
        assert mode == "debug=True"
        visited = [shared.get("/mode").text.split() for _ in range(10)]
        assert pid not in [visited_pid for visited_pid, _ in visited]
        assert {mode for _, mode in visited} == {"debug=False"}
        assert shared.ok("status", "-v").out == before
        terminal.type(CONTROL_C)
        assert terminal.exit_code() == 0
    wait_until(lambda: left_nothing(shared), "nothing of the debug server is left")
    assert "Traceback" not in terminal.text
    assert shared.ok("status", "-v").out == before


def test_a_debugger_can_use_the_terminal(shared: Site) -> None:
    with Terminal(shared, "debug") as terminal, ThreadPoolExecutor() as visitors:
        port = port_of(terminal)
        visit = visitors.submit(shared.get, "/stop", port=port)
        terminal.expect(r"\(Pdb\) ")
        terminal.type("p answer\n")
        terminal.expect(r"\n42\r\n")
        terminal.type("answer = 43\n")
        terminal.expect(r"\(Pdb\) ")
        terminal.type("continue\n")
        assert visit.result().text == "answered 43"


@pytest.mark.parametrize("end", ["Ctrl-C", "kill -9", "hang-up"])
def test_it_leaves_nothing_however_it_ends(shared: Site, end: str) -> None:
    with Terminal(shared, "debug") as terminal:
        port_of(terminal)
        match end:
            case "Ctrl-C":
                terminal.type(CONTROL_C)
                assert terminal.exit_code() == 0
            case "kill -9":
                terminal.command().send_signal(signal.SIGKILL)
            case "hang-up":
                terminal.hang_up()
        wait_until(lambda: left_nothing(shared), "nothing of the debug server is left")


def test_at_a_debuggers_prompt_a_second_control_c_ends_it_at_once(shared: Site) -> None:
    with Terminal(shared, "debug") as terminal, ThreadPoolExecutor() as visitors:
        port = port_of(terminal)
        visitors.submit(shared.get, "/stop", port=port)
        terminal.expect(r"\(Pdb\) ")
        terminal.type(CONTROL_C)
        wait_until(lambda: not answers(port), "it takes no more visitors")
        terminal.type(CONTROL_C)
        assert terminal.exit_code() == 0
        assert "Traceback" not in terminal.text
        assert "Fatal" not in terminal.text
        assert terminal.shows_typing()
    wait_until(lambda: left_nothing(shared), "nothing of the debug server is left")


def test_killed_at_a_debuggers_prompt_it_leaves_nothing(shared: Site) -> None:
    with Terminal(shared, "debug") as terminal, ThreadPoolExecutor() as visitors:
        port = port_of(terminal)
        visitors.submit(shared.get, "/stop", port=port)
        terminal.expect(r"\(Pdb\) ")
        terminal.command().send_signal(signal.SIGKILL)
        wait_until(lambda: left_nothing(shared), "nothing of the debug server is left")


def test_the_server_may_end_itself(shared: Site) -> None:
    with Terminal(shared, "debug") as terminal:
        port_of(terminal)
        [pid] = debug_processes(shared)
        os.kill(pid, signal.SIGKILL)
        assert terminal.exit_code() == 1
    wait_until(lambda: left_nothing(shared), "nothing of the debug server is left")


def test_a_second_one_is_refused(shared: Site) -> None:
    with Terminal(shared, "debug") as terminal:
        port_of(terminal)
        second = shared.run("debug")
        assert second.code == 1
        assert "`debug` is at work already in another terminal" in second.err
        assert traces(shared)
    wait_until(lambda: left_nothing(shared), "nothing of the debug server is left")


def test_with_the_pool_stopped_its_end_leaves_nothing_running(site: Site) -> None:
    site.use(SITE)
    with Terminal(site, "debug") as terminal:
        port = port_of(terminal)
        assert site.get("/mode", port=port).text.endswith("debug=True")
        terminal.type(CONTROL_C)
        assert terminal.exit_code() == 0
    wait_until(lambda: not site.processes(), "nothing runs in the home")
    wait_until(lambda: left_nothing(site), "nothing of the debug server is left")
