"""A site that several tests share, and not each other's faults."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType

from harness import Site

from zenwebserver.client.client import Client
from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.settings import Settings, parse

# Seconds for which a site is given time to come to rest: a server that was killed last comes back.
REST = 10.0
GENERATED = {"nginx.conf", "nginx-zope.conf"}


class Shared:
    """Makes a site when it is asked for one, and keeps it until it is told to end it."""

    def __init__(self, make: Callable[[], AbstractContextManager[Site]]) -> None:
        self._make = make
        self._held = ExitStack()
        self._site: Site | None = None
        self._made: dict[str, object] = {}

    def __enter__(self) -> Shared:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.end()

    def site(self) -> Site:
        if self._site is None:
            self._site = self._held.enter_context(self._make())
            self._made = condition(self._site)
        return self._site

    def end(self) -> None:
        self._site = None
        self._held.close()

    def is_as_it_was_made(self) -> bool:
        """Whether as much runs, of the same settings. Releases, pids and what is stored may be others.

        A site that was ended is made anew when the next one is asked for.
        """
        if self._site is None:
            return True
        until = time.monotonic() + REST
        while (found := condition(self._site)) != self._made:
            if time.monotonic() > until:
                changed = {key: found[key] for key in found if found[key] != self._made.get(key)}
                print(f"{self._site.home} is made anew, because a test left it otherwise: {changed}")
                return False
            time.sleep(0.1)
        return True


def condition(site: Site) -> dict[str, object]:
    """What is asked for, and what runs."""
    home = Home.at(site.home)
    status = Client(home).status() or {}
    record = json.loads(home.pool_record.read_text()) if home.pool_record.exists() else None
    files = {
        path.name: path.read_bytes()
        for path in home.etc.iterdir()
        if path.is_file() and path != home.settings_file and path.suffix != ".prev" and path.name not in GENERATED
    }
    return {
        "record": record,
        "settings": _settings(home),
        "loadbalancer": bool(status and status["loadbalancer"]["pid"]),
        "storage": bool(status and status["storage"]["pid"]),
        "servers": {each["number"]: bool(each["pid"]) for each in status["servers"]} if status else {},
        **files,
    }


def _settings(home: Home) -> Settings | str:
    text = home.settings_file.read_text() if home.settings_file.exists() else ""
    try:
        return parse(text, home.path)
    except ZenwebserverError:
        return text
