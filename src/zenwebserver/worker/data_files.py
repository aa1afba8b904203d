"""A Data.fs that is missing is not made anew where there was one: its disk is not mounted, or somebody has moved it.

ZODB would make an empty one without a word, and remove all blobs of the former. Beside the storage's configuration
stands which files it has had open, as seen from there, so that the record may be copied with its home.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger(__name__)


class DataMissing(Exception):
    """Nothing was made or removed. The first argument says what is missing, the second what to do."""


@dataclass(frozen=True)
class DataFile:
    """A FileStorage's file, and where its blobs are, if it keeps them itself."""

    path: str
    blobs: str = ""
    is_made_anew: bool = False  # at each start, because the site's configuration says so


def of(config: Any) -> Iterator[DataFile]:
    """Those that a storage's configuration names, in those that it wraps too."""
    if path := getattr(config, "path", None):
        yield DataFile(str(path), str(getattr(config, "blob_dir", None) or ""), bool(getattr(config, "create", False)))
    for inner in ("storage", "base", "changes"):
        opener = getattr(config, inner, None)
        if opener is not None and hasattr(opener, "config"):
            yield from of(opener.config)


def refuse_missing(conf: str, files: list[DataFile]) -> None:
    """Raises DataMissing where one was there before, or its blobs still are."""
    opened = _read(conf)
    for file in files:
        if file.is_made_anew or _is_there(file.path):
            continue
        has_blobs = _holds_blobs(file.blobs)
        instead = [f"remove {_record(conf)}"] if _name(conf, file) in opened else []
        if has_blobs:
            instead.append(f"move {file.blobs} away, which ZODB would empty")
        if instead:
            there = f", but its blobs are in {file.blobs}" if has_blobs else ", which storage has had open before"
            raise DataMissing(
                f"{file.path} is missing{there}",
                f"Put it back; is its disk mounted? To begin with an empty one: {' and '.join(instead)}.",
            )


def note_opened(conf: str, files: list[DataFile]) -> None:
    """From now on what is there is expected to be. What cannot be written is a warning: the files are open already."""
    opened = _read(conf)
    names = sorted({_name(conf, file) for file in files if _is_there(file.path)})
    if set(names) == opened:
        return
    new = _record(conf) + "_tmp"
    try:
        with open(new, "w", encoding="utf-8") as file:
            json.dump(names, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, _record(conf))
    except OSError as error:
        logger.warning("%s cannot be written: %s", _record(conf), error.strerror)


def _is_there(path: str) -> bool:
    """Be it behind links: in the place of one that leads nowhere ZODB would make a file too."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    except OSError:  # whoever opens it says what is wrong
        pass
    return True


def _record(conf: str) -> str:
    return os.path.splitext(conf)[0] + ".opened"


def _name(conf: str, file: DataFile) -> str:
    return os.path.relpath(file.path, os.path.dirname(conf))


def _read(conf: str) -> set[str]:
    """Nothing where there is no record, or none that can be understood."""
    try:
        with open(_record(conf), encoding="utf-8") as file:
            names = json.load(file)
    except (OSError, ValueError):
        return set()
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()


def _holds_blobs(folder: str) -> bool:
    """Whether there is more than ZODB itself makes of an empty one."""
    if not folder:
        return False
    for _, folders, files in os.walk(folder):
        if "tmp" in folders:
            folders.remove("tmp")
        if any(name.endswith(".blob") for name in files):
            return True
    return False
