"""Object ids that were fetched ahead hold for the connection to storage that they came over, and no longer.

A storage that was killed counts on from what is committed, and gives those that nobody has used yet to somebody else.
"""

from __future__ import annotations

from typing import Any

from ZEO.ClientStorage import ClientStorage
from ZEO.Exceptions import ClientDisconnected
from ZODB.Connection import Connection
from ZODB.POSException import ReadOnlyError

from .beneath import zeo_client
from .overrides import Method, Override

CURE = "no object id from before storage was restarted is used after it"

GENERATION = "_zenwebserver_generation"


class Fetched(list):  # type: ignore[type-arg]
    """Ids that were fetched over one connection to storage, the next one last."""

    def __init__(self, generation: int, oids: list[bytes]) -> None:
        super().__init__(oids)
        self.generation = generation


def overrides() -> list[Override]:
    return [
        Override(
            ClientStorage,
            "new_oid",
            ("self",),
            frozenset({"_oids", "_call", "new_oids", "_is_read_only"}),
            _new_oid_of_storage,
        ),
        Override(ClientStorage, "notify_disconnected", ("self",), frozenset({"_connection_generation"})),
        Override(Connection, "new_oid", ("self",), frozenset({"_storage", "new_oid"}), _new_oid_of_connection),
        Override(Connection, "commit", ("self", "transaction"), frozenset({"_commit"}), _commit),
        Override(Connection, "_tpc_cleanup", ("self",), frozenset({"_creating"}), _tpc_cleanup),
    ]


def _new_oid_of_storage(original: Method) -> Method:
    del original

    def new_oid(self: Any) -> bytes:
        if self._is_read_only:
            raise ReadOnlyError
        while True:
            fetched = self._oids
            if getattr(fetched, "generation", None) == self._connection_generation:
                try:
                    oid: bytes = fetched.pop()
                except IndexError:
                    pass
                else:
                    return oid
            # First the generation, which ends with the connection: what comes over the next one is of the next one.
            generation = self._connection_generation
            more = Fetched(generation, self._call("new_oids")[::-1])
            if getattr(self._oids, "generation", None) == generation:
                self._oids[:0] = more
            else:
                self._oids = more

    return new_oid


def _new_oid_of_connection(original: Method) -> Method:
    def new_oid(self: Any) -> Any:
        if GENERATION not in self.__dict__ and (storage := zeo_client(self)) is not None:
            self.__dict__[GENERATION] = storage._connection_generation
        return original(self)

    return new_oid


def _commit(original: Method) -> Method:
    def commit(self: Any, transaction: Any) -> Any:
        generation = self.__dict__.get(GENERATION)
        if generation is not None and generation != zeo_client(self)._connection_generation:
            raise ClientDisconnected("storage was lost since this transaction's new objects got their ids")
        return original(self, transaction)

    return commit


def _tpc_cleanup(original: Method) -> Method:
    def tpc_cleanup(self: Any) -> Any:
        self.__dict__.pop(GENERATION, None)
        return original(self)

    return tpc_cleanup
