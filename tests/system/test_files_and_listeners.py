"""What a site leaves for others to see: modes of files, listening sockets, arguments, logs, processes."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import stat

import psutil
from harness import Site, wait_until
from seen import files_with, zombies_of


def mode(path: object) -> int:
    return stat.S_IMODE(path.stat().st_mode)  # type: ignore[attr-defined]


def test_secrets_sockets_and_generated_files_are_the_owners_alone(running: Site) -> None:
    run = running.home / "var" / "run"
    assert mode(run) == 0o700
    sockets = [path for path in running.home.rglob("*") if path.is_socket()]
    assert {path.name for path in sockets} >= {"supervisor.sock", "workers.sock", "storage.sock"}
    assert {path.name: oct(mode(path)) for path in sockets} == {path.name: "0o600" for path in sockets}
    confs = [*(running.home / "etc" / "zope").glob("*.conf")]
    assert len(confs) >= 3
    assert {path.name: oct(mode(path)) for path in confs} == {path.name: "0o600" for path in confs}
    for name in ("nginx", "supervisor", "storage", "zope1", "zope2"):
        assert psutil.pid_exists(running.pid(name))

    writable = [path for path in running.home.rglob("*") if not path.is_symlink() and mode(path) & 0o002]
    assert writable == []


def test_the_password_stands_in_no_log_no_argument_and_no_file(running: Site) -> None:
    assert running.get("/manage_main", admin=True).status == 200
    running.ok("restart")
    assert files_with(running.home, running.password) == []
    for process in running.processes():
        assert running.password not in process.command
        with contextlib.suppress(psutil.NoSuchProcess):  # one of the former
            assert running.password not in " ".join(process.environ().values())


def test_only_nginx_listens_beyond_this_machine(running: Site) -> None:
    sockets = [(process.name(), each) for process in running.processes() for each in process.net_connections("inet")]
    listening = [(name, each) for name, each in sockets if each.status == psutil.CONN_LISTEN]
    datagrams = [(name, each) for name, each in sockets if each.type == socket.SOCK_DGRAM]
    ports = {running.port, running.server_port(1), running.server_port(2)}
    assert {each.laddr.port for _, each in listening} == ports
    assert all(ipaddress.ip_address(each.laddr.ip).is_loopback for name, each in listening if name != "nginx")
    assert all(ipaddress.ip_address(each.laddr.ip).is_loopback for _, each in datagrams)
    # One alone is heard: the others are connected, nginx's to ask at it, and those that keep its port from others.
    assert len([each for _, each in datagrams if not each.raddr]) == 1


def test_neither_zombies_nor_processes_are_left(running: Site) -> None:
    supervisor = running.pid("supervisor")
    for command in ("restart", "deploy +1", "deploy 1", "restart nginx"):
        running.ok(*command.split())
    for worker in running.workers_of_nginx():
        with contextlib.suppress(psutil.NoSuchProcess):  # one of a former configuration
            worker.kill()
    running.kill("nginx")
    wait_until(lambda: running.run("status").code == 0, "nginx is back")
    wait_until(lambda: zombies_of(supervisor) == [], "every dead process was waited for")
    running.ok("stop")
    wait_until(lambda: not running.processes(), "nothing is left")
    assert {path.name for path in (running.home / "var" / "run").iterdir()} <= {"supervisor.lock"}
