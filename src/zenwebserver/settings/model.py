"""What zenwebserver.conf says, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from zenwebserver.errors import ZenwebserverError
from zenwebserver.settings.datatypes import HIGHEST_PORT
from zenwebserver.settings.schema import keys


@dataclass(frozen=True)
class Settings:
    """Every setting, checked; schema.xml says what each means. Timeouts are seconds."""

    http_address: str  # "*", or an address without brackets
    http_port: int
    host_names: tuple[str, ...]  # lower case; empty: any
    site_url: str  # scheme://host[:port] in lower case, or empty
    site_root: str  # "/Plone", or empty

    use_ssl: bool
    ssl_port: int
    ssl_cert: Path
    ssl_key: Path

    server_base_port: int
    max_servers: int
    threads: int
    start_timeout: float
    drain_timeout: float
    preload: str  # "auto" or "off"
    warmup_paths: tuple[str, ...]
    restart_parallel: int  # 0: a quarter of the pool
    hung_timeout: float  # 0: never
    max_requests: int  # 0: never
    max_memory: int  # bytes; 0: never
    python: Path

    nginx: Path | None  # None: the embedded one
    worker_processes: str
    error_log_level: str
    client_max_body_size: str  # nginx's notation, "500m"
    read_timeout: int
    gzip: bool
    client_body_temp_path: Path
    proxy_temp_path: Path
    custom_http_include: str  # a pattern
    custom_server_include: str  # a pattern

    proxy_cache_path: Path
    login_cookies: tuple[str, ...]  # letters, digits, "_", "-", "."

    # Keys that only the admin's nginx.conf.template knows.
    variables: Mapping[str, str] = field(default_factory=dict, hash=False)

    def template_variables(self) -> dict[str, object]:
        """Every setting under its name in zenwebserver.conf, and the further ones, for the template."""
        return {**self.variables, **{key.name: getattr(self, key.attribute) for key in keys().values()}}

    def url(self) -> str:
        """Where visitors, or at least somebody on this machine, reach the site: scheme://host:port."""
        if self.site_url:
            return self.site_url
        named = next((name for name in self.host_names if not name.startswith("*")), "")
        here = "127.0.0.1" if self.http_address in ("*", "0.0.0.0") else self.http_address  # noqa: S104
        host = named or (f"[{here}]" if ":" in here else here)
        scheme, port = ("https", self.ssl_port) if self.use_ssl else ("http", self.http_port)
        return f"{scheme}://{host}:{port}"

    def server_address(self, number: int) -> tuple[str, int]:
        """Host and port of server `number` (from 1). Raises ZenwebserverError where it has no port."""
        if number < 1:
            raise ValueError(f"servers count from 1, not {number}")
        port = self.server_base_port + number
        taken = {self.http_port: "httpPort"} | ({self.ssl_port: "sslPort"} if self.use_ssl else {})
        if port > HIGHEST_PORT or port in taken:
            why = f"which is {taken[port]}" if port in taken else f"and {HIGHEST_PORT} is the highest"
            raise ZenwebserverError(
                f"Server {number} would listen on port {port}, {why}.",
                hint="Set another serverBasePort in etc/zenwebserver.conf, or deploy fewer servers.",
            )
        return "127.0.0.1", port
