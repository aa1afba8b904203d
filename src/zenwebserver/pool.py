"""Which servers are asked for, which of them are attached, and what the words of a command mean.

Pure, but for reading and writing the record: etc/zope/pool.json is what the admin asked for, whatever runs now.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from zenwebserver.errors import UsageError, ZenwebserverError, told
from zenwebserver.machine import files

DEFAULT_SIZE = 2
NUMBER = re.compile(r"[1-9][0-9]{0,5}")  # as the record has it: "01" would be "1" once more


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
        """At most `size` servers; detached ones go first, and of those that are alike the highest numbers."""
        kept = sorted(self.servers, key=lambda number: (not self.servers[number], number))[:size]
        return Pool({number: self.servers[number] for number in sorted(kept)})

    def with_attached(self, numbers: Iterable[int], attached: bool) -> Pool:
        return Pool({**self.servers, **dict.fromkeys(numbers, attached)})


def load(record: Path) -> Pool:
    """The recorded pool; empty where there is no record. Raises ZenwebserverError where it cannot be understood."""
    try:
        return parse(files.read_text(record))
    except FileNotFoundError:
        return Pool()
    except (OSError, ValueError, ZenwebserverError) as error:
        raise ZenwebserverError(
            f"The pool's record cannot be read: {record}: {_why(record, error)}",
            hint='Repair it, e.g. {"servers": {"1": {"attached": true}}}, or move it away and deploy again. '
            "Nothing was changed.",
        ) from error


def _why(record: Path, error: Exception) -> str:
    reason = told(error)
    return reason.removeprefix(f"{record}: ").removeprefix(f"{record} ")


def parse(text: str) -> Pool:
    """The pool that the text of a record says; keys that are unknown mean nothing. Raises ValueError."""
    try:
        content = json.loads(text, object_pairs_hook=_each_key_once)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: line {error.lineno} column {error.colno}") from None
    servers = content.get("servers") if isinstance(content, dict) else None
    if not isinstance(servers, dict):
        raise ValueError('it holds no "servers" by their numbers')  # noqa: TRY004 - a wrong text is a wrong value
    return Pool({_number(name): _attached(name, server) for name, server in servers.items()})


def _each_key_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it says {next(name for name in names if names.count(name) > 1)!r} twice")
    return found


def _number(name: str) -> int:
    if not NUMBER.fullmatch(name):
        raise ValueError(f"{name[:20]!r} is no server's number: they are 1 to 999999")
    return int(name)


def _attached(name: str, server: object) -> bool:
    attached = server.get("attached") if isinstance(server, dict) else None
    if not isinstance(attached, bool):
        raise ValueError(f'server {name} is neither "attached": true nor false')  # noqa: TRY004
    return attached


def save(record: Path, pool: Pool) -> None:
    """The one before it is kept as `pool.json.prev`. Raises OSError."""
    servers = {str(number): {"attached": pool.servers[number]} for number in pool.numbers}
    files.replace(record, json.dumps({"servers": servers}, indent=2) + "\n", keep_previous=True)


def put_back(record: Path, former: Pool) -> None:
    """Save `former`, which was the record before the last `save`. Raises OSError.

    A full disk has no room for it, but still for the file that was kept.
    """
    try:
        save(record, former)
    except OSError:
        previous = files.previous(record)
        if not previous.exists() or load(previous) != former:
            raise
        previous.replace(record)


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
