"""What crosses the line between the supervisor and the processes of a site: one JSON object a line, a dataclass each.

Both ends use this one file, which therefore knows the standard library alone and speaks Python 3.9. Each message says
the VERSION of whoever wrote it. A reader ignores keys that it does not know and takes the default of those that are
missing, so that an older process and a newer supervisor understand each other; a value of a wrong type is refused.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any, Optional, TypeVar, Union, get_args, get_origin, get_type_hints

# 1: tokens, typed messages. What came before said no version, which reads as 0.
VERSION = 1
# Bytes. The longest are the stacks of all threads: 100 threads with 100 frames of 150 bytes are 1.5 MB.
LONGEST_LINE = 4 * 1024 * 1024

Message = TypeVar("Message")


class WorkerState(str, Enum):
    """How a process of the site stands, in its own words."""

    STARTING = "starting"
    READY = "ready"  # booted: a server waits for a listening socket, a zygote for orders to fork
    TRYING = "trying"  # it serves the supervisor alone
    SERVING = "serving"
    RESTING = "resting"  # it takes nothing new for now, and keeps its database open
    LEAVING = "leaving"  # it finishes what it has accepted, then it ends
    FAILED = "failed"
    UNSAFE = "unsafe"  # a zygote that cannot be forked
    GONE = "gone"  # no process says this: the supervisor sees it

    def __str__(self) -> str:
        return self.value


class OrderName(str, Enum):
    """What the supervisor can tell a process to do."""

    TRY = "try"  # serve this listening socket, which nobody else knows
    ACCEPT = "accept"  # serve this listening socket
    REST = "rest"
    LEAVE = "leave"
    THREADS = "threads"  # say what each thread does now
    FORK = "fork"  # a zygote: fork a server

    def __str__(self) -> str:
        return self.value


# From a process to the supervisor.


@dataclass(frozen=True)
class Figures:
    """How busy a server is."""

    requests: int = 0  # answered so far
    memory: int = 0  # bytes (PSS)
    busy: int = 0  # threads that work on a request
    # Since when every thread has been busy with one request; storage: since when it has come to nothing else.
    all_busy_seconds: float = 0.0


@dataclass(frozen=True)
class ThreadNow:
    """What a thread does now."""

    name: str
    request: str = ""  # "GET /path"; empty: none
    seconds: float = 0.0  # for how long
    stack: str = ""


@dataclass(frozen=True)
class Forked:
    """What became of an order to fork: the pid, or how it failed in words that follow a server's name."""

    token: str
    pid: int = 0
    failure: str = ""


@dataclass(frozen=True)
class Standing:
    """Who a process is and how it stands: what it says first, and whenever that changes; below it, news of a moment."""

    state: WorkerState
    token: str = ""  # of the order that it was made for
    pid: int = 0
    server: str = ""  # its name: "1", "2" …; empty for a zygote
    zygote: str = ""  # its release; empty for a server
    storage: str = ""  # its configuration; empty for all others
    release: str = ""  # the release that a server was started in
    reason: str = ""  # why it failed: a traceback, or a sentence
    figures: Optional[Figures] = None
    threads: Optional[tuple[ThreadNow, ...]] = None
    forked: Optional[Forked] = None
    version: int = 0


# From the supervisor to a process.


@dataclass(frozen=True)
class ServerSpec:
    """What a server is to become."""

    server: str  # "1", "2", "debug" …
    zope_ini: str
    zope_conf: str
    threads: int
    release: str = ""
    token: str = ""
    supervisor: str = ""  # the Unix socket to call; empty: in the foreground, accepting at once
    listener: int = -1  # in the foreground: the descriptor of the bound socket
    warmup_paths: tuple[str, ...] = ()
    base: str = "http://localhost:80"  # the site's address as visitors know it
    root: str = ""  # the object that visitors see as the root
    error_page: str = ""  # the file that browsers are answered with where storage is away
    version: int = VERSION


@dataclass(frozen=True)
class ZygoteSpec:
    """What a zygote is to load."""

    zygote: str  # the release
    zope_ini: str
    zope_conf: str
    supervisor: str  # the Unix socket to call
    token: str = ""
    version: int = VERSION


@dataclass(frozen=True)
class StorageSpec:
    """What a storage is to serve."""

    storage: str  # runzeo's configuration
    token: str = ""
    supervisor: str = ""  # the Unix socket to call
    version: int = VERSION


@dataclass(frozen=True)
class Order:
    """What a process is told to do."""

    order: OrderName
    listener: bool = False  # a listening socket travels with this line
    timeout: float = 0.0  # leave: seconds
    server: Optional[ServerSpec] = None  # fork
    log: str = ""  # fork: the file that the server's output is appended to
    version: int = VERSION


def encode(message: Any) -> bytes:
    """One line. Empty texts are left out: an older supervisor takes whoever says "zygote" for one."""
    content = dataclasses.asdict(message)
    for field in dataclasses.fields(message):
        if content[field.name] is None or content[field.name] == field.default == "":
            del content[field.name]
    return json.dumps(content).encode() + b"\n"


def decode(kind: type[Message], line: Union[bytes, str]) -> Message:
    """The message that `line` is. Raises ValueError where it is none of that kind."""
    try:
        made: Message = _made(kind, json.loads(line))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return made


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _made(hint: Any, value: Any) -> Any:
    """`value` as what `hint` says it is. Raises ValueError."""
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise ValueError(f"not an object: {value!r:.100}")
        hints = _hints(hint)  # type: ignore[arg-type]
        known = {key: _made(hints[key], value[key]) for key in hints if key in value}
        try:
            return hint(**known)  # type: ignore[operator]
        except TypeError as error:
            raise ValueError(str(error)) from None
    if get_origin(hint) is Union:  # Optional
        return None if value is None else _made(get_args(hint)[0], value)
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise ValueError(f"not a list: {value!r:.100}")
        return tuple(_made(get_args(hint)[0], each) for each in value)
    if issubclass(hint, Enum):
        try:
            return hint(value)
        except ValueError:
            raise ValueError(f"no {hint.__name__}: {value!r:.100}") from None
    if hint is float and type(value) is int and abs(value) < sys.float_info.max:
        value = float(value)
    if type(value) is not hint or (hint is float and not math.isfinite(value)):
        raise ValueError(f"not of type {hint.__name__}: {value!r:.100}")
    return value
