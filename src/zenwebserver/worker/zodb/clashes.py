"""A new object whose id another object has already: that one, which is committed, stays as it is.

ZODB disowns it when the commit is aborted; its parent still holds it, and changes to it are lost without a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ZODB.Connection import Connection
from ZODB.POSException import ConflictError

from .beneath import zeo_client
from .overrides import Method, Override

CURE = "an object whose id is given once more goes on being stored"


class OidClash(ConflictError):  # type: ignore[misc]
    """Zope repeats the request, with other ids."""


def overrides() -> list[Override]:
    uses = frozenset({"_creating", "_cache", "_added", "serialize", "_p_oid"})
    return [Override(Connection, "_store_objects", ("self", "writer", "transaction"), uses, _store_objects)]


def _store_objects(original: Method) -> Method:
    def store_objects(self: Any, writer: Any, transaction: Any) -> Any:
        return original(self, Watched(writer, self), transaction)

    return store_objects


class Watched:
    """A ZODB.serialize.ObjectWriter that gives out no object whose id another one has in the connection's cache."""

    def __init__(self, writer: Any, connection: Any) -> None:
        self._writer = writer
        self._connection = connection
        self.serialize = writer.serialize

    def __iter__(self) -> Iterator[Any]:
        for each in self._writer:
            there = self._connection._cache.get(each._p_oid)
            if there is not None and there is not each and there is not getattr(each, "aq_base", None):
                raise self._clash(each, there)
            yield each

    def _clash(self, new: Any, there: Any) -> OidClash:
        """The connection starts afresh when it is next opened, with other ids."""
        connection, oid = self._connection, new._p_oid
        connection._reset_counter = None
        if (storage := zeo_client(connection)) is not None:
            storage._oids = []
        if oid not in connection._added:  # those are disowned by the abort
            new._p_changed = False
            del new._p_jar
            del new._p_oid
        return OidClash(f"the id of a new {type(new).__name__} is that of a {type(there).__name__}", oid=oid)
