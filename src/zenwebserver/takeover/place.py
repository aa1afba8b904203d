"""Where a home calls its web server's control script: which file, what it holds, and switching it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.takeover.daemons import switch_daemons, undo_daemons
from zenwebserver.takeover.record import Record
from zenwebserver.takeover.startup import switch_startup_script, undo_startup_script
from zenwebserver.takeover.switch import Found, Switch

UNDO: dict[str, Callable[[bytes, str], bytes | None]] = {
    "daemons": undo_daemons,
    "startup": undo_startup_script,
}


@dataclass(frozen=True)
class Place:
    """A file that says which web server is started."""

    path: Path
    kind: str  # a key of UNDO
    former: bytes
    switch: Switch


def find_place(home: Home, record: Record, startup_script: Path | None, *, force: bool) -> Place:
    """The file to switch, or switched: daemons.txt where it names a Zope server, else the start-up script.

    Raises ZenwebserverError where neither names one, or where they name several and `force` is not given.
    """
    daemons = home.etc / "daemons.txt"
    script = startup_script.absolute() if startup_script else home.path / "bin" / "zenoss"
    if before := record.entries.switched:
        place = _read(record.path(before.kept.path), before.kind, force=force)
        if place and place.switch.found is Found.ALREADY:
            return place
    looked_for = []
    for path, kind, what in (
        (daemons, "daemons", "a line `zopectl`"),
        (script, "startup", "a call of `zopectl`"),
    ):
        place = _read(path, kind, force=force)
        if place is None:
            looked_for.append(f"{what} in {path} (no such file)")
        elif place.switch.found is Found.NOTHING:
            looked_for.append(f"{what} in {path} (none there)")
        elif place.switch.found is Found.SEVERAL:
            raise _custom_load_balancer(place)
        else:
            return place
    raise ZenwebserverError(
        "Nothing in this home starts zopectl, so there is nothing to switch. Looked for: "
        + "; ".join(looked_for)
        + ".",
        hint="Nothing was changed. Name the script that starts zopectl with --startup-script PATH.",
    )


def others_left(place: Place) -> str:
    """What is still to do where other Zope servers stay in the file; empty where none does."""
    if not place.switch.others:
        return ""
    names = ", ".join(map(str, place.switch.others))
    return (
        f"These Zope servers stay in {place.path} and are started as before: {names}. "
        "Now: stop each of them, take it out of that file, take the former load balancer out of service, "
        "and get as many servers with `zenwebserver deploy N`."
    )


def _read(path: Path, kind: str, *, force: bool) -> Place | None:
    try:
        former = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ZenwebserverError(f"{path} cannot be read: {error.strerror}", hint="Nothing was changed.") from error
    switch = switch_daemons if kind == "daemons" else switch_startup_script
    return Place(path, kind, former, switch(former, force=force))


def _custom_load_balancer(place: Place) -> ZenwebserverError:
    switch = place.switch
    first = f"{switch.word} (line {switch.line})"
    servers = ", ".join([first, *map(str, switch.others)])
    return ZenwebserverError(
        f"This home seems to have a load balancer of its own: {place.path} names these Zope servers: "
        f"{servers}. Nothing was switched.",
        hint="By hand: stop these servers and the load balancer in front of them, leave only `zopectl` in "
        "that file, and repeat `zenwebserver install`. "
        f"Or, with a migration planned, `zenwebserver install --force`: {first} becomes zenwebserver, "
        "the others stay until you take them out.",
    )
