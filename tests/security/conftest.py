from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import free_ports
import pytest
import telling_waitress
from made_certificates import put
from running_nginx import Balancer, settings_of, system_nginx, write_configuration
from telling_waitress import Site

from zenwebserver.home import Home
from zenwebserver.nginx import binary as binaries
from zenwebserver.nginx.config import PoolServer

SYSTEM = system_nginx()


@pytest.fixture(scope="module", params=["embedded", "system"] if SYSTEM else ["embedded"])
def binary(request: pytest.FixtureRequest) -> Path:
    """The embedded nginx, and the system's where there is one."""
    return SYSTEM if SYSTEM and request.param == "system" else binaries.embedded()


@pytest.fixture(scope="module")
def telling_site() -> Iterator[Site]:
    with telling_waitress.serving() as site:
        yield site


@pytest.fixture(scope="module")
def plain_nginx(binary: Path, telling_site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    """Before the site that tells."""
    with _before(telling_site, binary, tmp_path_factory.mktemp("n"), "") as balancer:
        yield balancer


@pytest.fixture(scope="module")
def secure_nginx(binary: Path, telling_site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    """The same, with TLS."""
    with _before(telling_site, binary, tmp_path_factory.mktemp("n"), "useSSL True\n") as balancer:
        yield balancer


@contextmanager
def _before(site: Site, binary: Path, folder: Path, text: str) -> Iterator[Balancer]:
    home = Home.at(folder / "home")
    put(home.etc / "ssl")
    with free_ports.reserved() as port:
        settings = settings_of(home, f"httpAddress 127.0.0.1\nhttpPort {port}\nsslPort {port + 1}\n{text}")
        capabilities = asyncio.run(binaries.ask(binary))
        write_configuration(home, settings, capabilities, [PoolServer(1, "127.0.0.1", site.port)])
        balancer = Balancer(binary, home, settings)
        try:
            balancer.wait_until_it_listens("127.0.0.1")
            yield balancer
        finally:
            balancer.stop()
