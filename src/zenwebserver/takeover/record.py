"""The record of an installation: var/zenwebserver-install/record.json, and the originals beside it.

Everything stands here before it is done. What is done is never concluded from the record alone, but from the
files as they are; so an installation that was killed anywhere can be repeated or undone.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.machine import files
from zenwebserver.machine.files import make_folder
from zenwebserver.takeover.original import Metadata, beside, digest, give_to_owner_of, sync_folder

_ABOUT = "What `zenwebserver install` changed in this home. `zenwebserver uninstall` needs it; leave it as it is."
_VERSION = 1


class State(StrEnum):
    INSTALLING = "installing"
    INSTALLED = "installed"
    UNINSTALLING = "uninstalling"


@dataclass(frozen=True)
class Kept:
    """A file that was there before, kept to be put back."""

    path: str  # below the home, or absolute
    original: str  # its name in the record's folder
    before: str  # digest of the original
    metadata: Metadata


@dataclass(frozen=True)
class Switched:
    """The file whose zopectl became zenwebserver."""

    kept: Kept
    kind: str  # "daemons" or "startup"
    after: str  # digest of what we wrote
    word: str  # what stood where zenwebserver stands now


@dataclass(frozen=True)
class Entries:
    """What the record says."""

    state: State = State.INSTALLING
    folders: tuple[str, ...] = ()  # made by us
    link: str | None = None  # what bin/zenwebserver, made by us, points to
    switched: Switched | None = None
    kept: tuple[Kept, ...] = ()  # products that were there before
    made: dict[str, str] = field(default_factory=dict)  # products that were not: path -> kind
    made_digests: dict[str, str] = field(
        default_factory=dict
    )  # of those that an admin may edit, as configure made them


class Record:
    """The record on disk; every `note` is there, whole and synced, before it returns."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.folder = home.var / "zenwebserver-install"
        self.file = self.folder / "record.json"
        self._var_outside = home.path / ".var.zenwebserver-install"  # `var` on its way into or out of the home
        self.entries = self._read() if self.exists() else Entries()

    def exists(self) -> bool:
        return self.file.is_file()

    def path(self, name: str) -> Path:
        return self.home.path / name  # an absolute name stays absolute

    def name(self, path: Path) -> str:
        return str(path.relative_to(self.home.path)) if path.is_relative_to(self.home.path) else str(path)

    def begin(self) -> None:
        """Make the record where there is none. A missing `var` comes into the home with the record in it."""
        if self.exists():
            return
        if self.home.var.is_dir():
            make_folder(self.folder)
            self._write(self.folder)
            return
        folder = self._var_outside / self.folder.name
        make_folder(folder)
        self.entries = replace(self.entries, folders=(self.name(self.home.var),))
        self._write(folder)
        self._var_outside.rename(self.home.var)
        sync_folder(self.home.path)

    def note(self, **changes: Any) -> None:
        entries = replace(self.entries, **changes)
        if entries != self.entries:
            self.entries = entries
            self._write(self.folder)

    def make_folder(self, folder: Path) -> None:
        """Make a folder of the home, on record first."""
        if not folder.is_dir():
            self.note(folders=(*self.entries.folders, self.name(folder)))
            make_folder(folder)

    def keep(self, path: Path) -> Kept:
        """Keep the file at `path` as it is now; the caller notes what it is given."""
        data = path.read_bytes()
        copy = self.folder / self.name(path).strip("/").replace("/", "_")
        beside(copy).write_bytes(data)
        beside(copy).chmod(0o600)
        give_to_owner_of(self.folder, beside(copy))
        with beside(copy).open("rb") as file:
            os.fsync(file.fileno())
        beside(copy).replace(copy)
        return Kept(self.name(path), copy.name, digest(data), Metadata.of(path))

    def original(self, kept: Kept) -> bytes | None:
        """The kept bytes; None where they are gone or not those that were kept."""
        try:
            data = (self.folder / kept.original).read_bytes()
        except OSError:
            return None
        return data if digest(data) == kept.before else None

    def end(self) -> None:
        """Remove the record, and `var` where it came with it and holds nothing else."""
        var = self.home.var
        if self.name(var) in self.entries.folders and [each.name for each in var.iterdir()] == [self.folder.name]:
            var.rename(self._var_outside)
        else:
            self.file.unlink()
        self.sweep()

    def sweep(self) -> None:
        """Remove what a killed run left on the way to a record, or from one."""
        if self._var_outside.is_dir():
            shutil.rmtree(self._var_outside)
        if self.folder.is_dir() and not self.exists():
            shutil.rmtree(self.folder)

    def _write(self, folder: Path) -> None:
        content = {"about": _ABOUT, "version": _VERSION, **asdict(self.entries)}
        files.replace(folder / self.file.name, json.dumps(content, indent=2) + "\n")

    def _read(self) -> Entries:
        try:
            content = json.loads(self.file.read_text(encoding="utf-8"))
            if content.pop("version") != _VERSION:
                raise ValueError("it was written by another version of zenwebserver")
            del content["about"]
            return _entries(content)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ZenwebserverError(
                f"The record of the installation cannot be read: {self.file}: {error}",
                hint="Nothing was changed. The originals stand beside it: put them back, remove that folder.",
            ) from error


def _entries(content: dict[str, Any]) -> Entries:
    switched = content.pop("switched")
    return Entries(
        state=State(content.pop("state")),
        folders=tuple(content.pop("folders")),
        switched=Switched(**{**switched, "kept": _kept(switched["kept"])}) if switched else None,
        kept=tuple(_kept(each) for each in content.pop("kept")),
        **content,
    )


def _kept(content: dict[str, Any]) -> Kept:
    return Kept(**{**content, "metadata": Metadata(**content["metadata"])})


def is_installed(home: Home) -> bool:
    """Whether an installation, finished or not, is on record in this home."""
    return Record(home).exists()
