"""Uninstall: the procedure. Each step looks at what stands there now, so it can be repeated from anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from zenwebserver.home import Home
from zenwebserver.takeover.lock import alone
from zenwebserver.takeover.original import Metadata, beside, digest, write
from zenwebserver.takeover.place import UNDO
from zenwebserver.takeover.products import remove_empty, remove_products
from zenwebserver.takeover.record import Record, State, Switched
from zenwebserver.takeover.steps import Steps


@dataclass(frozen=True)
class Uninstalled:
    """What uninstall came to. `already`: nothing was installed, and nothing was changed."""

    already: bool
    notes: tuple[str, ...]  # what the admin should know


def uninstall(home: Home, *, steps: Steps, stop_pool: Callable[[], None] | None = None) -> Uninstalled:
    """Put back what install changed, and remove what it made.

    `stop_pool` is called first, and only where something is installed. Raises ZenwebserverError; repeated,
    it goes on from there.
    """
    with alone(home):
        record = Record(home)
        if not record.exists():
            record.sweep()
            return Uninstalled(True, ("zenwebserver is not installed in this home: there is nothing to undo.",))
        if stop_pool:
            stop_pool()
        record.note(state=State.UNINSTALLING)
        notes: list[str] = []
        if switched := record.entries.switched:
            with steps(f"Putting back {switched.kept.path}"):
                notes += _put_back(record, switched)
        if record.entries.link:
            with steps("Removing bin/zenwebserver"):
                notes += _remove_link(record, record.entries.link)
        if record.entries.made or record.entries.kept:
            with steps("Removing what configure made"):
                notes += remove_products(record)
        with steps("Removing the record of the installation"):
            for name in reversed(record.entries.folders):
                remove_empty(record.path(name))
            record.end()
        zopectl = home.path / "bin" / "zopectl"
        if zopectl.exists():
            notes.append(f"Nothing was started in its place: `{zopectl} start` does that.")
        return Uninstalled(False, tuple(notes))


def _put_back(record: Record, switched: Switched) -> list[str]:
    path = record.path(switched.kept.path)
    beside(path).unlink(missing_ok=True)  # of an install that was killed while it wrote
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        return [f"{path} is gone; it was not made again."]
    if digest(found) == switched.kept.before:
        return []
    original = record.original(switched.kept)
    if digest(found) == switched.after and original is not None:
        # Install changed neither mode nor owner: where they differ now, the admin did, and they stay.
        write(path, original, replace(Metadata.of(path), mtime_ns=switched.kept.metadata.mtime_ns))
        return []
    undone = UNDO[switched.kind](found, switched.word)
    if undone is None:
        return [f"{path} was edited since and does not name zenwebserver any more; it stays as it is."]
    write(path, undone)
    return [f"{path} was edited since: only zenwebserver became {switched.word} again, the edits stay."]


def _remove_link(record: Record, target: str) -> list[str]:
    link = record.home.path / "bin" / "zenwebserver"
    if link.is_symlink() and str(link.readlink()) == target:
        link.unlink()
        return []
    if link.is_symlink() or link.exists():
        return [f"{link} was replaced since; it stays as it is."]
    return []
