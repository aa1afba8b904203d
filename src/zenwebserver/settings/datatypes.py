"""The types that schema.xml names: from the text of a value to the value, or ValueError with the reason.

They are strict because every value may enter nginx's configuration: none lets a character through that could
end a directive there, open a block, or name one of nginx's variables.
"""

from __future__ import annotations

import ipaddress
import re
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import ZConfig.datatypes

HIGHEST_PORT = 65535
DAY = 86400  # seconds

# One label of a host name (RFC 1123), and the underscore that container networks use.
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_LONGEST_HOST = 253
_URL = re.compile(r"(https?)://(\[[^\]]*\]|[^:/\[\]]+)(?::([0-9]{1,5}))?/?", re.ASCII)
_COOKIE = re.compile(r"[A-Za-z0-9_.-]{1,100}", re.ASCII)
# Nine digits, so that gigabytes still fit into nginx's 64-bit off_t.
_OBJECT_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9_.-]+)+", re.ASCII)
_SIZE = re.compile(r"(?:0|[1-9][0-9]{0,8})[kKmMgG]?", re.ASCII)
# What could leave a quoted or unquoted word of nginx's configuration.
_UNSAFE_IN_PATH = "\"'`;{}$\\"


class Datatype(ABC):
    """A type of schema.xml; `accepts` says in words what it takes."""

    accepts: str

    @abstractmethod
    def __call__(self, text: str) -> object:
        """The value of `text`. Raises ValueError, with the reason where `accepts` does not say it."""


class Boolean(Datatype):
    accepts = "`True` or `False` (also `on`, `off`, `yes`, `no`)"

    def __call__(self, text: str) -> bool:
        try:
            return bool(ZConfig.datatypes.asBoolean(text))
        except ValueError:
            raise ValueError from None


@dataclass(frozen=True)
class Integer(Datatype):
    """A whole number, both bounds included."""

    lowest: int
    highest: int
    unit: str = ""

    @property
    def accepts(self) -> str:  # type: ignore[override]
        kind = f"whole {self.unit}" if self.unit else "a whole number"
        return f"{kind}, {self.lowest} to {self.highest}"

    def __call__(self, text: str) -> int:
        # int() alone would take "1_000", "+5" and other scripts' digits.
        if not re.fullmatch("[0-9]{1,9}", text, re.ASCII) or not self.lowest <= int(text) <= self.highest:
            raise ValueError
        return int(text)


class WorkerProcesses(Datatype):
    accepts = "a whole number, 1 to 1024, or `auto`"

    def __call__(self, text: str) -> str:
        return text if text == "auto" else str(Integer(1, 1024)(text))


@dataclass(frozen=True)
class Choice(Datatype):
    words: tuple[str, ...]

    @property
    def accepts(self) -> str:  # type: ignore[override]
        return "one of " + ", ".join(f"`{word}`" for word in self.words)

    def __call__(self, text: str) -> str:
        if text not in self.words:
            raise ValueError
        return text


class PathPattern(Datatype):
    """An absolute path whose last parts may hold shell patterns; kept as text for nginx's `include`."""

    accepts = "an absolute path, patterns (`*`, `?`) allowed"

    def __call__(self, text: str) -> str:
        if not text.startswith("/"):
            raise ValueError("it does not begin with / (or $ZENHOME)")
        if not text.isprintable():
            raise ValueError("it holds a character that cannot be printed")
        if unsafe := sorted(set(text) & set(_UNSAFE_IN_PATH)):
            raise ValueError(f"it must not hold {' '.join(unsafe)}")
        return text


class AbsolutePath(Datatype):
    accepts = "an absolute path"

    def __call__(self, text: str) -> Path:
        return Path(PathPattern()(text))


class OptionalPath(Datatype):
    accepts = f"nothing, or {AbsolutePath.accepts}"

    def __call__(self, text: str) -> Path | None:
        return AbsolutePath()(text) if text else None


class Interpreter(Datatype):
    """A Python; its symlinks stay, because a virtual environment's bin/python is one."""

    accepts = OptionalPath.accepts

    def __call__(self, text: str) -> Path:
        return AbsolutePath()(text) if text else Path(sys.executable)


class Address(Datatype):
    accepts = "`*`, an IPv4 address or an IPv6 address (without brackets)"

    def __call__(self, text: str) -> str:
        # ipaddress takes anything at all for the zone after "%".
        if text != "*" and "%" in text:
            raise ValueError("an address with a zone (%) cannot be used")
        try:
            return text if text == "*" else str(ipaddress.ip_address(text))
        except ValueError:
            raise ValueError from None


class HostNames(Datatype):
    accepts = "nothing, or host names separated by spaces, such as `www.example.org *.example.org`"

    def __call__(self, text: str) -> tuple[str, ...]:
        names = dict.fromkeys(name.lower() for name in text.split())
        for name in names:
            if not name.isascii():
                raise ValueError(f"{name} has to be written in its ASCII form (xn--…)")
            if not _is_host(name.removeprefix("*.")):
                raise ValueError(f"{name} is no host name")
        return tuple(names)


class SiteURL(Datatype):
    accepts = "nothing, or `http://HOST`, `https://HOST`, either with `:PORT`, without a path"

    def __call__(self, text: str) -> str:
        if not text:
            return ""
        found = _URL.fullmatch(text)
        if not found:
            raise ValueError
        scheme, host, port = found.groups()
        if host.startswith("["):
            address = Address()(host[1:-1])
            if ":" not in address:
                raise ValueError(f"{host} is no IPv6 address")
            host = f"[{address}]"
        elif not _is_host(host):
            raise ValueError(f"{host} is no host name")
        return f"{scheme}://{host.lower()}" + (f":{Integer(1, HIGHEST_PORT)(port)}" if port else "")


class Size(Datatype):
    accepts = "a size as nginx writes it: bytes, or a number with `k`, `m` or `g`"

    def __call__(self, text: str) -> str:
        if not _SIZE.fullmatch(text):
            raise ValueError
        return text


class Memory(Datatype):
    """Bytes, written as nginx writes sizes."""

    accepts = Size.accepts

    def __call__(self, text: str) -> int:
        number, unit = re.fullmatch(r"([0-9]*)([a-z]?)", Size()(text).lower(), re.ASCII).groups()  # type: ignore[union-attr]
        return int(number) * {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}[unit]


class URLPaths(Datatype):
    accepts = "nothing, or paths that begin with `/`, separated by spaces"

    def __call__(self, text: str) -> tuple[str, ...]:
        paths = tuple(dict.fromkeys(text.split()))
        for each in paths:
            if not each.startswith("/") or not each.isascii() or not each.isprintable():
                raise ValueError(f"{each} does not begin with / or is not as it stands in a URL")
        return paths


class ObjectPath(Datatype):
    accepts = "nothing, or a path of ids that begins with `/`, such as `/Plone`"

    def __call__(self, text: str) -> str:
        path = text.rstrip("/")
        if path and not _OBJECT_PATH.fullmatch(path):
            raise ValueError
        return path


class CookieNames(Datatype):
    accepts = "names of cookies (letters, digits, `_`, `-`, `.`) separated by spaces, at least one"

    def __call__(self, text: str) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(text.split()))
        # None at all would hand one visitor's private page to the next.
        if not names:
            raise ValueError
        for name in names:
            if not _COOKIE.fullmatch(name):
                raise ValueError(f"{name} is no cookie's name")
        return names


def _is_host(name: str) -> bool:
    return len(name) <= _LONGEST_HOST and _HOST.fullmatch(name) is not None


# The names that schema.xml uses.
boolean = Boolean()
port = Integer(1, HIGHEST_PORT)
base_port = Integer(1023, HIGHEST_PORT - 1)  # server 1 is at 1024: lower ports are root's
server_count = Integer(1, 1000)
thread_count = Integer(1, 256)
start_seconds = Integer(1, DAY, "seconds")
drain_seconds = Integer(0, DAY, "seconds")
hung_seconds = Integer(0, DAY, "seconds")
parallel = Integer(0, 1000)
request_count = Integer(0, 999_999_999)
memory = Memory()
preload = Choice(("auto", "off"))
url_paths = URLPaths()
object_path = ObjectPath()
read_seconds = Integer(1, DAY, "seconds")
worker_processes = WorkerProcesses()
log_level = Choice(("debug", "info", "notice", "warn", "error", "crit", "alert", "emerg"))
path = AbsolutePath()
path_pattern = PathPattern()
optional_path = OptionalPath()
interpreter = Interpreter()
address = Address()
host_names = HostNames()
site_url = SiteURL()
size = Size()
cookie_names = CookieNames()
