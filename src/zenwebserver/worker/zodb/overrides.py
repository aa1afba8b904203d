"""Methods of the site's ZODB and ZEO, replaced where they still are what the replacement was written for."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any, Callable

logger = logging.getLogger(__name__)

Method = Callable[..., Any]
OURS = "_of_zenwebserver"


@dataclass(frozen=True)
class Override:
    """`replacing` makes, of the method that is there, the one that comes in its place; without it, it stays.

    The one that is there must take `parameters` first and use all of the names `uses`.
    """

    owner: type
    name: str
    parameters: tuple[str, ...]
    uses: frozenset[str]
    replacing: Callable[[Method], Method] | None = None

    def method(self) -> Method | None:
        return getattr(self.owner, self.name, None)

    def is_in_place(self) -> bool:
        return hasattr(self.method(), OURS)

    def difference(self) -> str:
        """What is not as expected; empty where all is."""
        place = f"{self.owner.__module__}.{self.owner.__qualname__}.{self.name}"
        method = self.method()
        if method is None:
            return f"there is no {place}"
        function = inspect.unwrap(method)
        found = tuple(inspect.signature(function).parameters)
        if found[: len(self.parameters)] != self.parameters:
            return f"{place} takes ({', '.join(found)})"
        missing = self.uses - set(_names(function.__code__))
        return f"{place} does not use {', '.join(sorted(missing))}" if missing else ""

    def put_in_place(self) -> None:
        method = self.method()
        if method is None or self.replacing is None:
            return
        replacement = self.replacing(method)
        setattr(replacement, OURS, True)
        setattr(self.owner, self.name, replacement)


def put_in_place(cure: str, overrides: Sequence[Override]) -> bool:
    """All of them or none. Where one finds something else than it expects, a warning says that `cure` does not hold."""
    waiting = [override for override in overrides if not override.is_in_place()]
    differences = [difference for override in waiting if (difference := override.difference())]
    if differences:
        logger.warning(
            "This site's ZODB or ZEO is not as zenwebserver knows it, and is left as it is: %s. Not sure is, so: %s",
            "; ".join(differences),
            cure,
        )
        return False
    for override in waiting:
        override.put_in_place()
    return True


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    yield from _strings(code.co_consts)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _strings(constants: Iterable[Any]) -> Iterator[str]:
    yield from (constant for constant in constants if isinstance(constant, str))
