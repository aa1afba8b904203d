"""What Zope stores as it starts, where the database lacks it: several servers that start at once do it side by side.

Without this one of them stores it, and the others end with a ConflictError. So it is with a database of an earlier
Zope, which each of them brings up to date, and with one that was just begun.
"""

from __future__ import annotations

from typing import Any

import transaction
from App.ZApplication import ZApplicationWrapper
from OFS.Application import AppInitializer
from ZODB.POSException import ConflictError

from .overrides import Method, Override

CURE = "servers that start together on a database that Zope has to complete all come up"
# Each looks first whether there is something to store. Registering products does not, and stores nothing.
STEPS = (
    *("install_app_manager", "install_required_roles", "install_inituser"),
    *("install_standards", "install_virtual_hosting", "install_root_view"),
)
# More than all of them store: so often at most another server can have stored something just before this one.
TRIES = 20


def overrides() -> list[Override]:
    commits = frozenset({"commit"})
    steps = [Override(AppInitializer, step, ("self",), commits, _repeated) for step in STEPS]
    return [Override(ZApplicationWrapper, "__init__", ("self", "db", "name", "klass"), commits, _repeated), *steps]


def _repeated(original: Method) -> Method:
    def repeated(*arguments: Any, **named: Any) -> Any:
        for _ in range(TRIES - 1):
            try:
                return original(*arguments, **named)
            except ConflictError:
                transaction.begin()  # with what the others have stored
        return original(*arguments, **named)

    return repeated
