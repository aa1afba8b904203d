"""Settings that are right one by one, and cannot stand together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from zenwebserver.settings.datatypes import HIGHEST_PORT
from zenwebserver.settings.mistake import SettingsError
from zenwebserver.settings.model import Settings

Clash = tuple[tuple[str, ...], str]  # the keys, and what is wrong


def refuse_clashes(settings: Settings, lines: Mapping[str, int], source: Path | str) -> None:
    """Raise SettingsError for the first clash; `lines` has the line of each key that the file sets."""
    for names, wrong in _clashes(settings, lines):
        line = max((lines[name] for name in names if name in lines), default=None)
        raise SettingsError(source, line, wrong)


def _clashes(settings: Settings, lines: Mapping[str, int]) -> Iterator[Clash]:
    values = settings.template_variables()

    def said(name: str) -> str:
        return f"{name} {values[name]} ({f'line {lines[name]}' if name in lines else 'default'})"

    first, last = settings.server_base_port + 1, settings.server_base_port + settings.max_servers
    if last > HIGHEST_PORT:
        yield (
            ("serverBasePort", "maxServers"),
            f"{said('serverBasePort')} and {said('maxServers')} need ports up to {last}; {HIGHEST_PORT} is the highest",
        )
    ports = {"httpPort": settings.http_port}
    if settings.use_ssl:
        ports["sslPort"] = settings.ssl_port
        if settings.http_port == settings.ssl_port:
            yield (
                ("httpPort", "sslPort"),
                f"{said('httpPort')} and {said('sslPort')} are the same port; with useSSL each needs its own",
            )
    for name, port in ports.items():
        if first <= port <= last:
            yield (
                (name, "serverBasePort", "maxServers"),
                f"{said(name)} is the port of server {port - settings.server_base_port}: "
                f"{said('serverBasePort')} and {said('maxServers')} give the servers "
                f"the ports {first} to {last}",
            )
    # nginx lets the two folders for what passes through be one, but not one with the cache.
    cache = "proxy_cache_path"
    for other in ("proxy_temp_path", "client_body_temp_path"):
        if values[cache] == values[other]:
            yield (cache, other), f"{said(cache)} and {said(other)} are the same folder; each needs its own"
