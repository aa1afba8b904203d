"""A transaction over several storages of which one has stored its part already is not repeated."""

from __future__ import annotations

from typing import Any

from transaction.interfaces import TransientError
from ZODB.Connection import Connection
from ZODB.POSException import StorageError

from .overrides import Method, Override

CURE = "a transaction that one of several storages has stored is not repeated"


class PartlyStored(StorageError):  # type: ignore[misc]
    """Not a TransientError, so that Zope does not repeat the request."""


class _Stored:
    """The key under which a transaction keeps whose part is stored."""


def overrides() -> list[Override]:
    return [Override(Connection, "tpc_finish", ("self", "transaction"), frozenset({"_storage"}), _tpc_finish)]


def _tpc_finish(original: Method) -> Method:
    def tpc_finish(self: Any, transaction: Any) -> Any:
        try:
            result = original(self, transaction)
        except TransientError as error:
            if stored := _stored(transaction):
                raise PartlyStored(
                    f"Storage was lost while it stored this transaction: the database {self.db().database_name} has "
                    f"none of it, {', '.join(stored)} has all. It was not repeated; that database is to be put right."
                ) from error
            raise
        transaction.set_data(_Stored, [*_stored(transaction), self.db().database_name])
        return result

    return tpc_finish


def _stored(transaction: Any) -> list[str]:
    try:
        found: list[str] = transaction.data(_Stored)
    except KeyError:
        return []
    return found
