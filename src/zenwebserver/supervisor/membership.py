"""Where nginx sends visitors: what it was last told, and telling it something else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import psutil

from zenwebserver.errors import ZenwebserverError, told
from zenwebserver.home import Home
from zenwebserver.machine import files
from zenwebserver.nginx import pool_file
from zenwebserver.nginx.config import PoolServer
from zenwebserver.settings import Settings
from zenwebserver.supervisor.publisher import Published

NOTHING = "Nothing was"


class NotPublished(ZenwebserverError):
    """nginx was not told of the pool: it sends visitors where it did before, and its files are as they were."""


class Membership:
    """Kept beside the record of the pool, which is what is asked for."""

    def __init__(self, home: Home, published: Published) -> None:
        self._home = home
        self._published = published
        self._told: frozenset[str] | None = None  # addresses; None: it is not known

    async def tell(self, settings: Settings, servers: Sequence[PoolServer]) -> set[psutil.Process]:
        """Returns the workers of nginx that still know the former ones. Raises NotPublished."""
        try:
            outdated = await self._published.put_pool(settings, servers)
        except ZenwebserverError as error:
            stands = "" if error.hint.startswith(NOTHING) else f"{NOTHING} changed. "
            raise NotPublished(error.message, hint=f"{stands}{error.hint}".strip(), detail=error.detail) from error
        except OSError as error:
            hint = "Nothing was changed. Mend that, and repeat the command."
            raise NotPublished(f"nginx could not be told of the pool: {told(error)}", hint=hint) from error
        self._told = _addresses(servers)
        return outdated

    def adopt(self) -> None:
        """nginx runs already, and was told by another supervisor: by its file, which names whom it knows."""
        try:
            self._told = pool_file.addresses(files.read_text(self._home.nginx_pool_conf))
        except (OSError, ZenwebserverError):
            self._told = None

    def holds(self, servers: Sequence[PoolServer]) -> bool:
        """Whether nginx was last told of just these."""
        return self._told == _addresses(servers)

    def has(self, server: PoolServer) -> bool | None:
        """Whether nginx was last told to send visitors to it; None where that is not known."""
        return None if self._told is None else server.address in self._told


def _addresses(servers: Iterable[PoolServer]) -> frozenset[str]:
    return frozenset(server.address for server in servers if server.attached)
