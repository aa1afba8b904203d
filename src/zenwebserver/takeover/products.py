"""What configuring makes in the home after the switch, so that uninstall removes that and nothing else.

The caller names what it may make; whether it was there before is seen here.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from zenwebserver.takeover.original import Metadata, digest_of, write
from zenwebserver.takeover.record import Record


class Kind(StrEnum):
    GENERATED = "generated"  # a file of zenwebserver's alone: removed, or the one that was there before put back
    EDITABLE = "editable"  # a file that the admin may edit: removed only while it is as it was made
    FOLDER = "folder"  # removed when nothing is left in it
    TREE = "tree"  # a folder in which everything is zenwebserver's: removed whole. Never one with data


@dataclass(frozen=True)
class Product:
    path: Path
    kind: Kind


def note_products(record: Record, products: Sequence[Product]) -> None:
    """Before they are made: what is there already, and what is not."""
    made, kept = dict(record.entries.made), {each.path: each for each in record.entries.kept}
    for product in products:
        name = record.name(product.path)
        if name in made or name in kept:
            continue
        if not product.path.exists() and not product.path.is_symlink():
            made[name] = product.kind.value
        elif product.kind is Kind.GENERATED and product.path.is_file():
            kept[name] = record.keep(product.path)
    there = {name: each for name, each in record.entries.made_digests.items() if record.path(name).exists()}
    record.note(made=made, made_digests=there, kept=tuple(kept.values()))


def note_made(record: Record) -> None:
    """After they were made: how those look that the admin may edit from now on."""
    digests = dict(record.entries.made_digests)
    for name, kind in record.entries.made.items():
        found = digest_of(record.path(name))
        if kind == Kind.EDITABLE and found:
            digests.setdefault(name, found)
    record.note(made_digests=digests)


def remove_products(record: Record) -> list[str]:
    """Remove what was made, and put back what was there; returns what an admin should know."""
    notes = []
    for kept in record.entries.kept:
        path, data = record.path(kept.path), record.original(kept)
        if data is None:
            notes.append(f"{path} stays as it is: what was kept of the former one is lost.")
        elif digest_of(path) != kept.before or Metadata.of(path) != kept.metadata:
            write(path, data, kept.metadata)
    folders = []
    for name, kind in record.entries.made.items():
        path = record.path(name)
        if kind == Kind.TREE and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif kind in (Kind.TREE, Kind.FOLDER):
            folders.append(path)
        elif kind == Kind.EDITABLE and digest_of(path) != record.entries.made_digests.get(name, digest_of(path)):
            notes.append(f"{path} stays: it was edited since it was made.")
        elif path.is_symlink() or path.is_file():
            path.unlink()
    for folder in sorted(folders, key=lambda each: len(each.parts), reverse=True):
        remove_empty(folder)
    return notes


def remove_empty(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
        folder.rmdir()
