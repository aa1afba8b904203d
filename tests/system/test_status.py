"""status: what other tools parse, to the letter."""

from __future__ import annotations

import json
import re
import subprocess

import psutil
from harness import COMMAND, Site, wait_until
from terminal import Terminal

SETTINGS = {"httpAddress": "*"}


def up(what: str) -> str:
    return f"{what} status".ljust(50) + "[UP]\n"


def down(what: str) -> str:
    return f"{what} status".ljust(50) + "[DOWN]\nNot running, Not listening\n"


def server(site: Site, number: int, detached: bool = False) -> str:
    return (
        up(f"Server {number}")
        + f"Running (pid {site.pid(f'zope{number}')}), Listening (port 127.0.0.1:{site.server_port(number)})\n"
        + ("* Detached from server pool\n" if detached else "")
        + "\n"
    )


def loadbalancer(site: Site) -> str:
    return up("Load balancer") + f"Running (pid {site.pid('nginx')}), Listening (port *:{site.port})\n\n"


def storage(site: Site) -> str:
    socket = site.home / "var" / "run" / "storage.sock"
    return up("Storage") + f"Running (pid {site.pid('storage')}), Listening (socket {socket})\n\n"


def test_in_a_word_it_names_the_master_of_nginx(shared: Site) -> None:
    ran = shared.run("status")
    assert (ran.code, ran.out, ran.err) == (0, f"program running; pid={shared.pid('nginx')}\n", "")
    assert "nginx: master" in " ".join(psutil.Process(shared.pid("nginx")).cmdline())


def test_in_detail_each_part_has_its_lines(shared: Site) -> None:
    expected = server(shared, 1) + server(shared, 2) + loadbalancer(shared) + storage(shared)
    for words in (["status", "-v"], ["-v", "status"], ["status", "--verbose"]):
        ran = shared.run(*words)
        assert (ran.code, ran.out, ran.err) == (0, expected, "")


def test_servers_stand_in_numeric_order(shared: Site) -> None:
    try:
        shared.ok("stop")
        record = shared.home / "etc" / "zope" / "pool.json"
        record.write_text(json.dumps({"servers": {str(number): {"attached": True} for number in (10, 2, 9, 1)}}))
        titles = re.findall(r"^Server (\d+) status", shared.run("status", "-v").out, re.MULTILINE)
        assert titles == ["1", "2", "9", "10"]
        shared.ok("start", "nginx", "2", "10")
        titles = re.findall(r"^Server (\d+) status", shared.run("status", "-v").out, re.MULTILINE)
        assert titles == ["1", "2", "9", "10"]
    finally:
        shared.ok("deploy", "2")
        shared.ok("start")


def test_a_detached_server_says_so(shared: Site) -> None:
    try:
        shared.ok("detach", "2")
        expected = server(shared, 1) + server(shared, 2, detached=True) + loadbalancer(shared) + storage(shared)
        assert shared.ok("status", "-v").out == expected
        assert shared.ok("status", "2").out == (
            f"Server 2: program running; pid={shared.pid('zope2')}; detached from server pool\n"
        )
        shared.ok("stop", "2")
        stopped = down("Server 2") + "* Detached from server pool\n\n"
        assert shared.run("status", "-v").out == server(shared, 1) + stopped + loadbalancer(shared) + storage(shared)
    finally:
        shared.ok("start", "2")
        shared.ok("attach", "2")


def test_less_than_is_asked_for_is_told_and_fails(shared: Site) -> None:
    try:
        shared.ok("stop", "1")
        nginx = shared.pid("nginx")
        ran = shared.run("status")
        assert (ran.code, ran.out) == (1, f"program running; pid={nginx}\n1 of 2 servers\n")
        assert shared.run("status", "--json").code == shared.run("status", "-v").code == 1
        shared.ok("stop", "2")
        ran = shared.run("status")
        rest = f"the load balancer runs: pid={nginx}; storage runs: pid={shared.pid('storage')}"
        assert (ran.code, ran.out) == (1, f"not running\n0 of 2 servers; {rest}\n")
        ran = shared.run("status", "-v")
        assert ran.code == 1
        assert ran.out == f"{down('Server 1')}\n{down('Server 2')}\n{loadbalancer(shared)}{storage(shared)}"
        shared.ok("start", "servers")
        assert shared.ok("status").out == f"program running; pid={nginx}\n"
        shared.ok("stop", "nginx")
        ran = shared.run("status")
        rest = f"the load balancer is down; storage runs: pid={shared.pid('storage')}"
        assert (ran.code, ran.out) == (1, f"not running\n2 of 2 servers; {rest}\n")
        assert f"{down('Load balancer')}\n" in shared.run("status", "-v").out
    finally:
        shared.ok("start")


def test_what_a_killed_supervisor_left_is_compared_with_the_record_too(shared: Site) -> None:
    try:
        shared.ok("detach", "2")
        nginx = shared.pid("nginx")
        shared.kill("supervisor")
        ran = shared.ok("status")
        assert ran.out == f"program running; pid={nginx}\n2 of 2 servers; 1 detached\n"
        record = shared.home / "etc/zope/pool.json"
        record.write_text(record.read_text().replace("false", "true"))
        ran = shared.run("status")
        assert (ran.code, ran.out) == (
            1,
            f"program running; pid={nginx}\n2 of 2 servers; nginx has another pool\n",
        )
        said = "* Attached to the server pool by the record, but nginx sends it no visitors\n"
        assert said in shared.run("status", "-v", "2").out
        shared.ok("start")
        wait_until(lambda: shared.run("status").code == 0, "nginx is told")
        assert shared.ok("status").out == f"program running; pid={nginx}\n"
    finally:
        shared.ok("start")
        shared.ok("attach", "2")


def test_named_parts_alone_are_shown(shared: Site) -> None:
    assert shared.ok("status", "-v", "2", "nginx").out == server(shared, 2) + loadbalancer(shared)
    assert shared.ok("status", "-v", "storage").out == storage(shared)
    assert shared.ok("status", "server2").out == f"Server 2: program running; pid={shared.pid('zope2')}\n"


def test_colour_is_for_terminals_alone(shared: Site) -> None:
    forced = {**shared.environment, "FORCE_COLOR": "1", "TTY_COMPATIBLE": "1", "TERM": "xterm-256color"}
    plain = subprocess.run([COMMAND, "status", "-v"], env=forced, capture_output=True, text=True, check=True)
    assert plain.stdout == shared.ok("status", "-v").out
    assert "\x1b" not in plain.stdout + plain.stderr
    with Terminal(shared, "status", "-v") as terminal:
        assert terminal.exit_code() == 0
        assert "\x1b[32m[UP]" in terminal.raw


def test_a_setting_that_is_not_in_force_yet_is_not_shown(shared: Site) -> None:
    conf = shared.home / "etc" / "zenwebserver.conf"
    former = conf.read_text()
    try:
        conf.write_text(former.replace(f"httpPort {shared.port}", f"httpPort {shared.spare_port()}"))
        shared.ok("verify")
        shared.ok("attach", "1")
        assert loadbalancer(shared) in shared.ok("status", "-v").out
    finally:
        conf.write_text(former)
        shared.ok("attach", "1")


def test_what_a_killed_supervisor_left_is_shown_until_the_next_one_takes_it_over(shared: Site) -> None:
    expected = shared.ok("status", "-v").out
    shared.kill("supervisor")
    ran = shared.run("status", "-v")
    assert (ran.code, ran.out) == (0, expected)
    assert ran.err == "The supervisor is not running; to take over what runs: zenwebserver start\n"
    assert shared.ok("start").out == f"It runs already: http://127.0.0.1:{shared.port}/\n"
    ran = shared.run("status", "-v")
    assert (ran.code, ran.out, ran.err) == (0, expected, "")


def test_where_nothing_was_ever_started_it_says_so_and_starts_nothing(site: Site) -> None:
    wait_until(lambda: not site.processes(), "what made the home has ended")
    ran = site.run("status")
    assert (ran.code, ran.out, ran.err) == (1, "not running\n", "")
    ran = site.run("status", "-v")
    assert (ran.code, ran.out) == (1, f"{down('Load balancer')}\n")
    assert site.processes() == []
    record = site.home / "etc" / "zope" / "pool.json"
    record.write_text("{")
    ran = site.run("status")
    assert (ran.code, ran.out) == (1, "not running\n")
    assert f"{record}: it is no JSON: line 1 column 2" in ran.err
    assert json.loads(site.run("status", "--json").out)["running"] is False


def test_where_all_is_stopped_each_part_says_so(site: Site) -> None:
    site.ok("start")
    site.ok("stop")
    ran = site.run("status", "-v")
    assert (ran.code, ran.out) == (1, f"{down('Server 1')}\n{down('Server 2')}\n{down('Load balancer')}\n")
    wait_until(lambda: not site.processes(), "nothing runs")
