"""Listening TCP sockets: bind one, and say who has a port already."""

from __future__ import annotations

import errno
import socket

import psutil

from zenwebserver.errors import ZenwebserverError


class CannotBind(ZenwebserverError):
    """The port is taken, or privileged: another one would do."""


def bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet; `*` is every IPv4 and IPv6 address. Raises CannotBind."""
    try:
        return _bind(host, port)
    except OSError as error:
        raise CannotBind(_why(host, port, error)) from error


def _bind(host: str, port: int) -> socket.socket:
    both = host == "*" and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both or ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if both:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("" if host == "*" else host, port))
    except BaseException:
        listener.close()
        raise
    return listener


def _why(host: str, port: int, error: OSError) -> str:
    where = f"{host}:{port}"
    if error.errno == errno.EADDRINUSE:
        return f"Port {where} is taken by {holder(port) or 'another process'}"
    if error.errno == errno.EACCES:
        return f"Port {where} is privileged: only root may bind ports below 1024"
    return f"Port {where} cannot be bound: {error.strerror}"


def listened(pid: int) -> list[str]:
    """The addresses that process `pid` listens on, as nginx writes them; empty where we may not know."""
    try:
        connections = psutil.Process(pid).net_connections("tcp")
    except psutil.Error:
        return []
    found: dict[int, set[str]] = {}
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN:
            found.setdefault(connection.laddr.port, set()).add(connection.laddr.ip)
    return [f"{host}:{port}" for port, hosts in sorted(found.items()) for host in _hosts(hosts)]


def _hosts(addresses: set[str]) -> list[str]:
    """Every IPv4 address is `*` to nginx, and to us with every IPv6 address too."""
    if "0.0.0.0" in addresses:  # noqa: S104
        return ["*"]
    return [f"[{address}]" if ":" in address else address for address in sorted(addresses)]


def holder(port: int) -> str:
    """Who listens on `port`, as "nginx (pid 123)"; empty where nobody does."""
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
            if not connection.pid:
                return "a process of another user"
            try:
                process = psutil.Process(connection.pid)
                # A worker shares the socket of its parent, which is whom an admin knows.
                while (parent := process.parent()) and any(at.endswith(f":{port}") for at in listened(parent.pid)):
                    process = parent
                return f"{process.name()} (pid {process.pid})"
            except psutil.Error:
                return f"pid {connection.pid}"
    return ""
