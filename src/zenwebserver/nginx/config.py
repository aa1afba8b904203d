"""nginx's configuration as text: from the template, the settings and the pool. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from urllib.parse import urlsplit

from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.nginx.binary import Capabilities
from zenwebserver.nginx.template import (
    Verbatim,
    fill,
    is_unedited,
    names,
    quoted,
    shipped_error_page,
    shipped_template,
)
from zenwebserver.settings import Settings

__all__ = [
    "PoolServer",
    "can_be_named",
    "folders",
    "is_unedited",
    "render",
    "render_pool",
    "resolver_of",
    "shipped_error_page",
    "shipped_template",
    "variables",
]

# waitress takes this many connections at once (its connection_limit, which zenwebserver raises from 100).
# nginx's idle ones are its workers x keepalive, twice that while a reload has old and new workers: a quarter
# leaves half of the limit free.
CONNECTION_LIMIT = 1000
MOST_IDLE = CONNECTION_LIMIT // 4
MOST_IDLE_PER_WORKER = 32
ASSUMED_PROCESSORS = 64  # for `worker_processes auto` on a machine that nobody has counted
# Shorter than the servers' own idle timeout: nginx closes first, and never writes into a closing connection.
IDLE_SECONDS = 4
# Enough for 1000 servers; memory that is not used is not taken.
ZONE_SIZE = "2m"
# What nginx asks the supervisor for, where it can: the service of this name (SRV) is the pool.
POOL_NAME = "zope.pool"
POOL_SERVICE = "http"
MOST_NAMED = 100  # servers; nginx reads 4096 bytes of an answer
# The pool as it was when nginx read its configuration. nginx.conf asks it while nginx knows no pool yet; one without
# it, made by an edited template, is not served by names.
POOL_AT_START = "zope_at_start"

# What render() gives to the template besides the settings.
OWN_VARIABLES = frozenset(
    {
        "access_log",
        "capabilities",
        "default_server",
        "error_log",
        "error_page_folder",
        "http_listen",
        "https_listen",
        "login_cookie_pattern",
        "nginx_var",
        "pid_file",
        "pool_conf",
        "redirect_to",
        "server_name",
        "site_authority",
        "site_host",
        "site_port",
        "site_scheme",
        "user",
    }
)


@dataclass(frozen=True)
class PoolServer:
    """A server of the pool, wherever it runs; a detached one gets no traffic."""

    number: int
    host: str
    port: int
    attached: bool = True

    @property
    def address(self) -> str:
        return _address(self.host, self.port)


def render(
    template_text: str,
    *,
    template_name: str,
    settings: Settings,
    home: Home,
    capabilities: Capabilities,
    pool_conf: Path,
    user: tuple[str, str] | None,
    ipv6: bool,
) -> str:
    """etc/nginx.conf. `ipv6`: the machine has it.

    `user`: name and group of the workers, only where nginx starts as root.
    Raises ZenwebserverError: the template's name and line, or what this nginx or this home cannot do.
    """
    if settings.use_ssl and not capabilities.ssl:
        raise ZenwebserverError(
            "This nginx was built without TLS, and useSSL is True.",
            hint="Set `useSSL False`, or the key `nginx` to another nginx. Nothing was changed.",
        )
    _refuse_impossible_home(home)
    own: dict[str, object] = {
        "access_log": home.nginx_log / "access.log",
        "capabilities": capabilities,
        "default_server": not settings.host_names,
        "error_log": home.nginx_log / "error.log",
        "error_page_folder": home.html,
        "http_listen": _listen(settings, settings.http_port, ipv6),
        "https_listen": _listen(settings, settings.ssl_port, ipv6),
        "login_cookie_pattern": _login_cookie_pattern(settings),
        "nginx_var": home.nginx_var,
        "pid_file": home.nginx_pid,
        "pool_conf": pool_conf,
        "server_name": " ".join(settings.host_names),
        "user": user,
        **_site(settings),
    }
    body = fill(template_text, template_name, {**settings.template_variables(), **own})
    return _generated(template_name, str(home.settings_file)) + body


def variables(template_text: str, template_name: str = "nginx.conf.template") -> set[str]:
    """The names that the template uses and that settings have to give: their keys, and further ones.

    Raises ZenwebserverError where the template cannot be read.
    """
    return names(template_text, template_name) - OWN_VARIABLES


def render_pool(
    servers: Sequence[PoolServer],
    settings: Settings,
    capabilities: Capabilities,
    *,
    processors: int = ASSUMED_PROCESSORS,
    name_port: int | None = None,
) -> str:
    """etc/nginx-zope.conf: the upstream `zope`. `processors` is what `worker_processes auto` means here.

    `name_port`: where nginx asks for the pool; None: it is told of each change by a reload.
    """
    lines = []
    for server in sorted(servers, key=lambda server: server.number):
        # The supervisor owns health. With nginx's own default, one dying server can bench all of them.
        directive = f"server {server.address}"
        lines.append(f"{directive} max_fails=0;" if server.attached else f"# detached: {directive}")
    if not any(server.attached for server in servers):
        # nginx wants at least one; this one is never asked, so visitors get the 50x page at once.
        lines.append("server 127.0.0.1:9 down;  # no server is attached")
    workers = processors if settings.worker_processes == "auto" else int(settings.worker_processes)
    keepalive = max(1, min(MOST_IDLE_PER_WORKER, MOST_IDLE // max(1, workers)))
    connections = (
        f"keepalive {keepalive};  # idle connections of each worker; a server takes {CONNECTION_LIMIT}",
        f"keepalive_timeout {IDLE_SECONDS}s;  # below the servers' own",
    )
    upstreams = []
    if name_port is not None:
        asking = (
            "# nginx asks zenwebserver once a second for the servers; who is among them now stands below.",
            f"resolver 127.0.0.1:{name_port} ipv6=off;",
            "resolver_timeout 1s;",
            f"server {POOL_NAME} service={POOL_SERVICE} resolve max_fails=0;",
        )
        upstreams.append(_upstream("zope", asking, connections))
    else:
        upstreams.append(_upstream("zope", lines, connections))
    if capabilities.asks_for_servers:
        upstreams.append(_upstream(POOL_AT_START, lines, connections))
    return "\n".join([_generated("the pool of servers", "etc/zenwebserver.conf"), *upstreams])


def _upstream(name: str, servers: Iterable[str], connections: Iterable[str]) -> str:
    body = "\n    ".join([f"zone zope {ZONE_SIZE};", "least_conn;", *servers, *connections])
    return f"upstream {name} {{\n    {body}\n}}\n"


def can_be_named(servers: Sequence[PoolServer]) -> bool:
    """Whether nginx can ask for these; it reads 4096 bytes of an answer, and is told one address."""
    return len(servers) <= MOST_NAMED and all(server.host == "127.0.0.1" for server in servers)


def resolver_of(pool_conf: str) -> str:
    """Whom nginx asks for its servers; empty where it does not ask."""
    found = re.search(r"^ *resolver (127\.0\.0\.1:[0-9]+) ", pool_conf, re.MULTILINE)
    return found[1] if found else ""


def folders(settings: Settings, home: Home) -> tuple[Path, ...]:
    """The folders that nginx writes into and that have to be there before it starts, parents first."""
    temporary = settings.proxy_temp_path, settings.client_body_temp_path
    return home.nginx_var, settings.proxy_cache_path, *temporary, home.nginx_log


def _generated(*sources: str) -> str:
    shown = " and ".join(re.sub(r"[\x00-\x1f\x7f]", "?", source) for source in sources)
    return (
        f"# Generated by zenwebserver from {shown}.\n"
        "# Do not edit: the next change of the settings or of the pool replaces this file.\n"
    )


def _refuse_impossible_home(home: Home) -> None:
    """nginx reads variables and shell patterns in paths, and cannot be told that a character is plain."""
    try:
        quoted(home.path)
    except ValueError as error:
        message = f"The home's path {error}."
        raise ZenwebserverError(message, hint="Move the home, or set another ZENHOME.") from None
    if found := re.search(r"[*?\[\]]", str(home.path)):
        raise ZenwebserverError(
            f"The home's path holds {found[0]}, which nginx takes for a pattern: {home.path}",
            hint="Move the home, or set another ZENHOME.",
        )


def _listen(settings: Settings, port: int, ipv6: bool) -> tuple[Verbatim, ...]:
    if settings.http_address != "*":
        return (Verbatim(_address(settings.http_address, port)),)
    return (Verbatim(f"*:{port}"), Verbatim(f"[::]:{port}")) if ipv6 else (Verbatim(f"*:{port}"),)


def _address(host: str, port: int) -> str:
    try:
        literal = ip_address(host.strip("[]"))
    except ValueError:
        if not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?", host, re.ASCII):
            raise ValueError(f"not a host: {host!r}") from None
        return f"{host}:{port}"
    return f"[{literal}]:{port}" if isinstance(literal, IPv6Address) else f"{literal}:{port}"


def _login_cookie_pattern(settings: Settings) -> Verbatim:
    """Finds a login cookie's name where Zope's lenient parser could find one, in any case of letters."""
    alternatives = "|".join(re.escape(name) for name in settings.login_cookies) or "(?!)"
    return Verbatim(f'"~*(?:^|[^a-z0-9_.-])(?:{alternatives})[^a-z0-9_.-]*="')


def _site(settings: Settings) -> dict[str, object]:
    """By which scheme, host and port Zope knows itself: siteURL, else what the visitor asked for, checked."""
    url = urlsplit(settings.site_url)
    tls_port = "" if settings.ssl_port == 443 else f":{settings.ssl_port}"
    redirect_to = settings.site_url if url.scheme == "https" else f"https://$zope_host{tls_port}"
    if not url.scheme:
        site = {
            "site_scheme": "$scheme",
            "site_host": "$zope_host",
            "site_port": "$server_port",
            "site_authority": "$zope_host$zope_port",
        }
    else:
        host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname or ""
        usual = 443 if url.scheme == "https" else 80
        port = url.port or usual
        authority = host if port == usual else f"{host}:{port}"
        site = {
            "site_scheme": url.scheme,
            "site_host": host,
            "site_port": str(port),
            "site_authority": authority,
        }
    return {name: Verbatim(text) for name, text in {**site, "redirect_to": redirect_to}.items()}
