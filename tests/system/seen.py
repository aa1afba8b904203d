"""What several tests look at: who runs, and what the site has stored."""

from __future__ import annotations

import psutil
from harness import Site


def pids(site: Site, *names: str) -> dict[str, int]:
    return {name: site.pid(name) for name in names}


def stored(site: Site) -> dict[str, int]:
    """Every id that the site has stored, and how often."""
    return {ident: int(count) for ident, count in (line.split() for line in site.get("/counts").text.splitlines())}


def zombies_of(pid: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(pid).children() if child.status() == psutil.STATUS_ZOMBIE]
