"""Files that are tried before they replace the real ones: where they lie, and what is said of them."""

from __future__ import annotations

import errno
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from zenwebserver.home import Home
from zenwebserver.machine import files

# What earlier versions left unfinished when they were killed; to others these names mean nothing.
FORMER_IN_ETC = re.compile(r"\.verify-[a-z0-9_]{8}|\.nginx(-zope)?\.conf\.prev\.new")
FULL = (errno.ENOSPC, errno.EDQUOT)
FORMER_IN_POOL_FOLDER = re.compile(
    r"\.(zope([0-9]+|run|debug)\.conf|release[0-9]+\.conf|storage\.conf|pool\.json)\.[a-z0-9_]{8}"
)


@contextmanager
def folder_beside(home: Home) -> Iterator[Path]:
    """A folder for candidates, in etc/ so that relative includes mean the same."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=".verify-", suffix=files.MARK, dir=home.etc))
    except OSError as error:
        error.filename = str(home.etc)
        raise
    try:
        yield folder
    except OSError as error:
        if error.errno in FULL:  # that says no name by itself
            error.filename = str(home.etc)
        raise
    finally:
        shutil.rmtree(folder)


def sweep(home: Home) -> list[Path]:
    """Remove what killed supervisors left unfinished. Only under the supervisor's lock. Returns what was removed."""
    return [
        *files.sweep((home.path.resolve(), home.etc, home.pool_folder, home.run, home.html)),
        *files.sweep((home.etc,), FORMER_IN_ETC),
        *files.sweep((home.pool_folder,), FORMER_IN_POOL_FOLDER),
    ]


def in_words_of_zope_conf(words: str, candidate: Path, text: str, original: Path) -> str:
    """Zope's words of a `candidate` that holds `text`, with the name and the lines of the site's own file."""
    lines, own = text.splitlines(), [line.strip() for line in files.read_text(original).splitlines()]

    def own_line(found: re.Match[str]) -> str:
        index = int(found[1]) - 1
        line = lines[index].strip() if index < len(lines) else ""
        return f"line {own.index(line) + 1}" if own.count(line) == 1 else f"the line `{line}`"

    return (
        re.sub(r"\bline (\d+)\b", own_line, words)
        .replace(f"file://{candidate}", str(original))
        .replace(str(candidate), str(original))
    )


def in_words_of_nginx(words: str, folder: Path, real: Mapping[str, tuple[Path, str]]) -> str:
    """nginx's words of a candidate in `folder`, with the names of the `real` files and the line that it means."""
    meant = []
    for name, number in dict.fromkeys(re.findall(rf"{re.escape(str(folder))}/([a-z.]+):(\d+)", words)):
        lines = real[name][1].splitlines()
        if 0 < int(number) <= len(lines):
            meant.append(f"{real[name][0]}:{number}: {lines[int(number) - 1].strip()}")
    for name, (path, _) in real.items():
        words = words.replace(str(folder / name), str(path))
    return "\n".join([words, *meant])
