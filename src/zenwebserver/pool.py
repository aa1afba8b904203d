"""Which servers are asked for, which of them are attached, and what the words of a command mean.

Pure, but for reading and writing the record: etc/zope/pool.json is what the admin asked for, whatever runs now.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from zenwebserver.errors import UsageError, ZenwebserverError
from zenwebserver.machine import files

DEFAULT_SIZE = 2


@dataclass(frozen=True)
class Pool:
    """The deployed servers: number -> attached. Values are never changed, each method gives a new pool."""

    servers: dict[int, bool] = field(default_factory=dict)

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(sorted(self.servers))

    @property
    def attached(self) -> tuple[int, ...]:
        return tuple(number for number in self.numbers if self.servers[number])

    def grown(self, size: int) -> Pool:
        """At least `size` servers; new ones take the lowest free numbers and are attached."""
        servers = dict(self.servers)
        number = 1
        while len(servers) < size:
            servers.setdefault(number, True)
            number += 1
        return Pool(servers)

    def shrunk(self, size: int) -> Pool:
        """At most `size` servers; the highest numbers go first."""
        return Pool({number: self.servers[number] for number in self.numbers[:size]})

    def with_attached(self, numbers: Iterable[int], attached: bool) -> Pool:
        return Pool({**self.servers, **dict.fromkeys(numbers, attached)})


def load(record: Path) -> Pool:
    """The recorded pool; empty where there is no record. Raises ZenwebserverError where it cannot be understood."""
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        return Pool({int(number): bool(server["attached"]) for number, server in content["servers"].items()})
    except FileNotFoundError:
        return Pool()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ZenwebserverError(
            f"The pool's record cannot be read: {record}: {error}",
            hint='Repair it, e.g. {"servers": {"1": {"attached": true}}}, or move it away and deploy again. '
            "Nothing was changed.",
        ) from error


def save(record: Path, pool: Pool) -> None:
    servers = {str(number): {"attached": pool.servers[number]} for number in pool.numbers}
    files.replace(record, json.dumps({"servers": servers}, indent=2) + "\n")


def wanted_size(word: str, present: int) -> int:
    """The size that `deploy WORD` asks for: n, +n or -n; never below 1. Raises UsageError."""
    match = re.fullmatch(r"([+-]?)([0-9]{1,6})", word)
    if not match:
        raise UsageError(f"Not a number of servers: {word}", hint="deploy takes n, +n or -n, such as: deploy 4")
    sign, number = match[1], int(match[2])
    if not sign and number < 1:
        raise UsageError("A pool has at least 1 server.", hint="To stop the site: zenwebserver stop")
    return max(1, {"": number, "+": present + number, "-": present - number}[sign])


@dataclass(frozen=True)
class Targets:
    """What a command acts on."""

    loadbalancer: bool = False
    servers: tuple[int, ...] = ()
    storage: bool = False
    everything: bool = False  # no target was named


SERVER_TARGET = re.compile(r"(?:server)?([0-9]{1,6})")


def parse_targets(
    words: Sequence[str], pool: Pool, allowed: Sequence[str] = ("loadbalancer", "servers", "storage")
) -> Targets:
    """The targets that `words` name in `pool`; none named: all. Raises UsageError for an unknown one."""
    if not words:
        return Targets("loadbalancer" in allowed, pool.numbers, "storage" in allowed, everything=True)
    targets = Targets()
    for word in words:
        server = SERVER_TARGET.fullmatch(word)
        if word in ("loadbalancer", "nginx") and "loadbalancer" in allowed:
            targets = replace(targets, loadbalancer=True)
        elif word == "storage" and "storage" in allowed:
            targets = replace(targets, storage=True)
        elif word == "servers":
            targets = replace(targets, servers=pool.numbers)
        elif server and int(server[1]) in pool.servers:
            targets = replace(targets, servers=tuple(sorted({*targets.servers, int(server[1])})))
        else:
            what = f"Server {int(server[1])} is not deployed" if server else f"Unknown target: {word}"
            raise UsageError(what, hint=f"Valid targets: {', '.join(valid_targets(pool, allowed))}")
    return targets


def valid_targets(pool: Pool, allowed: Sequence[str]) -> list[str]:
    names = [name for name in ("loadbalancer", "storage", "servers") if name in allowed]
    return names + [f"server{number}" for number in pool.numbers]
