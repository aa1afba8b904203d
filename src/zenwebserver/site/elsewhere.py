"""Where a home's own files lead into another home, or to the place where this one was before it was moved or copied.

Two homes that open one Data.fs, or write into one log, are hardly ever meant. What lies in no home is nobody else's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.machine import files
from zenwebserver.site import sections, zope_conf
from zenwebserver.site.sections import Document, Section

# A path as it stands in a line, alone or behind a space, a quote and the like.
_PATH = re.compile(r"(?:^|(?<=[\s\"'=:,(<]))/[^\s\"':,)<>;]+")
_ON = ("on", "true", "yes")


@dataclass(frozen=True)
class Lead:
    """A line, or a link (`line` 0), with the path that is in it, and what it leads to, in words."""

    file: Path
    line: int
    path: Path
    why: str

    def __str__(self) -> str:
        where = f"{self.file}, line {self.line}: {self.path}" if self.line else f"{self.file}, a link to {self.path},"
        return f"{where} {self.why}"


def leads(home: Home, former: Path | None) -> list[Lead]:
    """Every place in the home's files that leads elsewhere; `former` is where the home was before, if that is known."""
    where = _Where(home, former)
    found = [*_in_zope_conf(home, where), *_in_links(home, where)]
    for path in (home.zope_ini, home.settings_file, home.nginx_template, home.etc / "site.zcml"):
        found += _in_lines(path, where)
    return list(dict.fromkeys(found))


class _Where:
    """Whose a path is."""

    def __init__(self, home: Home, former: Path | None) -> None:
        self._home = home
        self._former = former

    def of(self, path: Path) -> str:
        """What is wrong with it, in words; empty where nothing is."""
        return self._of(path) or self._of(Path(os.path.realpath(path)))

    def _of(self, path: Path) -> str:
        for folder in (path, *path.parents):
            if folder == self._home.path or _same(folder, self._home.path):
                return ""
            if folder == self._former:
                return "leads to where this home was before" if not folder.exists() else _into(folder)
            if _is_home(folder):
                return _into(folder)
        return ""


def _into(folder: Path) -> str:
    return f"leads into another home, {folder}"


def _is_home(folder: Path) -> bool:
    try:
        return Home(folder).settings_file.is_file()
    except OSError:  # what we may not see, we cannot lead into
        return False


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _in_zope_conf(home: Home, where: _Where) -> Iterator[Lead]:
    try:
        document = zope_conf.read(home.zope_conf).document
    except ZenwebserverError:
        return  # whoever needs it says what is wrong with it
    told: list[Path] = []
    including: dict[Path, int] = {}
    for index, line in enumerate(document.lines):
        if line.file != home.zope_conf and line.file not in including:
            including[line.file] = index
            if why := where.of(line.file):
                yield Lead(document.lines[index - 1].file, document.lines[index - 1].number, line.file, why)
        words = line.text.split(None, 2)
        if words[:1] == ["%define"] and len(words) == 3:
            path = Path(sections.substitute(words[2].strip(), document.defines, document.environment, line))
            if path.is_absolute() and (why := where.of(path)):
                told.append(path)
                yield Lead(line.file, line.number, path, why)
    for section in document.root.walk():
        yield from _in_section(section, document, where, told)


def _in_section(section: Section, document: Document, where: _Where, told: list[Path]) -> Iterator[Lead]:
    shared = section.key("shared-blob-dir")
    for key in section.keys:
        if key.name == "blob-dir" and shared and document.value(shared).lower() in _ON:
            continue  # it is said to be shared
        value, line = document.value(key), document.lines[key.index]
        if found := _first(value, where):
            path, why = found
            if "$" not in key.value or not any(path.is_relative_to(each) for each in told):  # else it is told already
                yield Lead(line.file, line.number, path, why)
        elif key.name == "instancehome" and Path(value).is_absolute() and not Path(value).exists():
            yield Lead(line.file, line.number, Path(value), "is not there")


def _in_lines(path: Path, where: _Where) -> Iterator[Lead]:
    try:
        lines = files.read_text(path).split("\n")
    except (OSError, ZenwebserverError):
        return  # there is none, or it is no text
    for number, line in enumerate(lines, 1):
        if not line.lstrip().startswith(("#", ";")) and (found := _first(line, where)):
            yield Lead(path, number, *found)


def _first(text: str, where: _Where) -> tuple[Path, str] | None:
    """The first path in the text that leads elsewhere, and where it leads."""
    for match in _PATH.finditer(text):
        # It may hold spaces, or something else may follow it.
        for path in (Path(match[0]), Path(text[match.start() :].rstrip())):
            if why := where.of(path):
                return path, why
    return None


def _in_links(home: Home, where: _Where) -> Iterator[Lead]:
    """A copied home may have links; behind one, all is another's."""
    data = (home.var / "filestorage", home.var / "filestorage" / "Data.fs", home.var / "blobstorage")
    for path in (home.etc, home.var, home.log, home.zope_conf, home.zope_ini, *data):
        if path.is_symlink() and (why := where.of(path.resolve())):
            yield Lead(path, 0, path.resolve(), why)
