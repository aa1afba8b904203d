"""Install: the procedure, and what is checked before anything is changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.takeover import zopectl
from zenwebserver.takeover.lock import alone
from zenwebserver.takeover.original import digest, give_to_owner_of, write
from zenwebserver.takeover.place import Place, find_place, others_left
from zenwebserver.takeover.products import Product, note_made, note_products
from zenwebserver.takeover.record import Record, State, Switched
from zenwebserver.takeover.steps import Steps
from zenwebserver.takeover.switch import Found


@dataclass(frozen=True)
class Installed:
    """What install came to. `already`: it was so before, and nothing was changed."""

    place: Path  # the file that names zenwebserver now
    already: bool
    notes: tuple[str, ...]  # what the admin should know or still do


def install(
    home: Home,
    *,
    command: Path,
    startup_script: Path | None = None,
    force: bool = False,
    steps: Steps,
    configure: Callable[[], None] | None = None,
    products: Sequence[Product] = (),
) -> Installed:
    """Make `command` the web server's control script of the home.

    `configure` is called last, unless an installation was finished before; `products` are what it, and the
    pool later, may make. Raises ZenwebserverError; what failed or was killed on the way goes on when it is
    repeated.
    """
    with alone(home):
        record = Record(home)
        command = _behind(_link(home), command)
        _check_command(command)
        linked = _check_link(_link(home), record, command)
        place = find_place(home, record, startup_script, force=force)
        record.sweep()
        changed = False
        if not linked:
            changed = True
            with steps("Linking bin/zenwebserver"):
                _make_link(home, record, command)
        if place.switch.found is Found.SWITCHED:
            changed = True
            with steps(f"Switching {record.name(place.path)}"):
                _switch(record, place)
        if zopectl.is_there(home, command) and (server := zopectl.running(home)):
            changed = True
            with steps("Stopping bin/zopectl"):
                zopectl.stop(home, server)
        if not record.exists() or record.entries.state is not State.INSTALLED:
            changed = True
            record.begin()
            record.note(state=State.INSTALLING)
            note_products(record, products)
            if configure:
                configure()
            note_made(record)
            record.note(state=State.INSTALLED)
        note = others_left(place)
        return Installed(place.path, not changed, (note,) if note else ())


def _link(home: Home) -> Path:
    return home.path / "bin" / "zenwebserver"


def _behind(link: Path, command: Path) -> Path:
    """The command itself, where it was called by the link that an earlier install made."""
    if link.is_symlink() and command.is_symlink() and os.path.samestat(link.lstat(), command.lstat()):
        return link.parent / link.readlink()
    return command


def _check_command(command: Path) -> None:
    if not (command.is_absolute() and command.is_file() and os.access(command, os.X_OK)):
        raise ZenwebserverError(f"{command} is not the absolute path of a command.", hint="Nothing was changed.")


def _check_link(link: Path, record: Record, command: Path) -> bool:
    """Whether the link stands as it should. Raises ZenwebserverError where something else stands there."""
    if link.is_symlink():
        found = str(link.readlink())
        if found == str(command):
            return True
        if found == record.entries.link:
            return False  # ours, to a command that stood elsewhere
        what = f"a link to {found}"
    elif not link.exists():
        return False
    elif link.samefile(command):
        return True  # the command itself lives in the home
    else:
        what = "a folder" if link.is_dir() else "a file"
    raise ZenwebserverError(
        f"{link} is {what} that zenwebserver did not make.",
        hint="Nothing was changed. Move it away, then repeat `zenwebserver install`.",
    )


def _make_link(home: Home, record: Record, command: Path) -> None:
    link = _link(home)
    record.begin()
    record.make_folder(link.parent)
    if (
        link.is_symlink()
    ):  # an outdated one of ours: first off, so that the record never claims a link of somebody else's
        link.unlink()
    record.note(link=str(command))
    link.symlink_to(command)
    give_to_owner_of(link.parent, link)


def _switch(record: Record, place: Place) -> None:
    record.begin()
    record.note(switched=None)  # its original is about to be replaced
    kept = record.keep(place.path)
    if kept.before != digest(place.former):
        raise ZenwebserverError(f"{place.path} was changed meanwhile.", hint="It stays as it is. Repeat the command.")
    record.note(switched=Switched(kept, place.kind, digest(place.switch.text), place.switch.word))
    write(place.path, place.switch.text)
