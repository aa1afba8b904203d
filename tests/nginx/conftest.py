from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import free_ports
import pytest
from echo_upstream import Upstream, serving
from running_nginx import Balancer, Start, settings_of, system_nginx, write_configuration

from zenwebserver.home import Home
from zenwebserver.nginx import binary as binaries
from zenwebserver.nginx.binary import Capabilities
from zenwebserver.nginx.config import PoolServer

SYSTEM = system_nginx()


@pytest.fixture(scope="session", params=["embedded", "system"] if SYSTEM else ["embedded"])
def binary(request: pytest.FixtureRequest) -> Path:
    """The embedded nginx, and the system's where there is one."""
    return SYSTEM if SYSTEM and request.param == "system" else binaries.embedded()


@pytest.fixture(scope="session")
def capabilities(binary: Path) -> Capabilities:
    return asyncio.run(binaries.ask(binary))


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Not below tmp_path, which has the test's name: a home's path has to be short."""
    return Home.at(tmp_path_factory.mktemp("n") / "home")


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serving() as upstream:
        yield upstream


@pytest.fixture
def start(binary: Path, capabilities: Capabilities, home: Home, upstream: Upstream) -> Iterator[Start]:
    held = ExitStack()

    def start(
        text: str = "",
        servers: Iterable[PoolServer] | None = None,
        *,
        template: str = "",
        address: str = "127.0.0.1",
        variables: Iterable[str] = (),
        name_port: int | None = None,
    ) -> Balancer:
        pool = [PoolServer(1, "127.0.0.1", upstream.port)] if servers is None else list(servers)
        port = held.enter_context(free_ports.reserved())
        ports = f"httpAddress {address}\nhttpPort {port}\nsslPort {port + 1}\n"
        settings = settings_of(home, ports + text, variables)
        write_configuration(
            home, settings, capabilities, pool, template=template, ipv6=address == "*", name_port=name_port
        )
        balancer = Balancer(binary, home, settings)
        held.callback(balancer.stop)
        balancer.wait_until_it_listens("127.0.0.1" if address == "*" else address)
        return balancer

    with held:
        yield start
