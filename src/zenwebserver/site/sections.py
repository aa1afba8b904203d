"""The text of a ZConfig file as lines, keys and nested sections, each with its place.

Enough to change some lines and leave the rest, sections of unknown packages too, to whoever reads it.
Includes are put in place of their `%include`, so that the text means the same wherever it is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from zenwebserver.errors import ZenwebserverError
from zenwebserver.machine import files

# As ZConfig.cfgparser and ZConfig.substitution have them.
_KEY = re.compile(r"(?P<name>[^\s()]+)\s*(?P<value>\S.*)?$")
_HEADER = re.compile(r"(?P<kind>[^\s()]+)(?:\s+(?P<name>[^\s()]+))?$")
_NAME = r"[a-zA-Z_][a-zA-Z0-9_]*"
_REFERENCE = re.compile(rf"\$(?:(?P<dollar>\$)|\{{(?P<braced>{_NAME})\}}|\((?P<env>{_NAME})\)|(?P<plain>{_NAME})|)")


@dataclass(frozen=True)
class Line:
    """A line of the text, and where it came from (an included file, perhaps)."""

    text: str
    file: Path
    number: int

    def error(self, message: str, *, hint: str = "") -> ZenwebserverError:
        return ZenwebserverError(f"{self.file}, line {self.number}: {message}", hint=hint)


@dataclass(frozen=True)
class Key:
    """A key as written: `value` may still hold `$name`. `index` is its line in the document."""

    name: str
    value: str
    index: int


@dataclass
class Section:
    """A section, or the whole file; `first` and `last` are the lines in the document that hold it."""

    kind: str
    name: str
    first: int
    last: int = -1
    keys: list[Key] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)

    def __str__(self) -> str:
        return f"<{self.kind} {self.name}>" if self.name else f"<{self.kind}>"

    def key(self, name: str) -> Key | None:
        return next((key for key in self.keys if key.name == name), None)

    def walk(self) -> Iterator[Section]:
        """This section and every one within it."""
        yield self
        for section in self.sections:
            yield from section.walk()


@dataclass(frozen=True)
class Document:
    """A ZConfig file with its includes in place."""

    lines: tuple[Line, ...]
    root: Section
    defines: Mapping[str, str]
    environment: Mapping[str, str]
    imports: tuple[str, ...]

    def value(self, key: Key) -> str:
        """The key's value, substituted. Raises ZenwebserverError for a name that is not defined."""
        return substitute(key.value, self.defines, self.environment, self.lines[key.index])

    def text(self, index: int, names: Iterable[str]) -> str:
        """The line as it is written, but with `$(NAME)` replaced for these names of the environment."""
        line = self.lines[index].text
        if line.lstrip().startswith("#"):
            return line

        def replacement(match: re.Match[str]) -> str:
            return self.environment[match["env"]].replace("$", "$$") if match["env"] in names else match[0]

        return _REFERENCE.sub(replacement, line)


def substitute(text: str, defines: Mapping[str, str], environment: Mapping[str, str], line: Line) -> str:
    """`text` with `$name`, `${name}`, `$(ENVIRONMENT)` and `$$` replaced. Raises ZenwebserverError."""

    def replacement(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        if match["env"]:
            found = environment.get(match["env"])
        elif name := match["braced"] or match["plain"]:
            found = defines.get(name.lower())
        else:
            raise line.error(f"a lone $ in: {text}", hint="Write $$ for the character itself.")
        if found is None:
            raise line.error(f"{match[0]} is not defined", hint="Define it above that line, with %define.")
        return found

    return _REFERENCE.sub(replacement, text)


def read(path: Path, environment: Mapping[str, str]) -> Document:
    """The file at `path`. Raises ZenwebserverError where it, or an include, is unreadable or malformed."""
    reader = _Reader(environment)
    reader.read_file(path, reader.root, including=())
    return Document(tuple(reader.lines), reader.root, reader.defines, environment, tuple(reader.imports))


class _Reader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.root = Section("", "", 0)
        self.lines: list[Line] = []
        self.defines: dict[str, str] = {}
        self.imports: list[str] = []

    def read_file(self, path: Path, section: Section, *, including: tuple[Path, ...]) -> None:
        opened = [section]
        for number, text in enumerate(_text(path).removesuffix("\n").split("\n"), 1):
            self._read_line(Line(text, path, number), opened, including)
        if len(opened) > 1:
            raise self.lines[opened[-1].first].error(f"{opened[-1]} is never closed")

    def _read_line(self, line: Line, opened: list[Section], including: tuple[Path, ...]) -> None:
        self.lines.append(line)
        text = line.text.strip()
        if not text or text.startswith("#"):
            return
        if text.startswith("</"):
            self._close(text, line, opened)
        elif text.startswith("<"):
            self._open(text, line, opened)
        elif text.startswith("%"):
            self._directive(text[1:], line, opened[-1], including)
        else:
            name, value = _key(text, line)
            opened[-1].keys.append(Key(name.lower(), value, len(self.lines) - 1))

    def _open(self, text: str, line: Line, opened: list[Section]) -> None:
        empty = text.endswith("/>")
        header = _HEADER.match(text[1 : -2 if empty else -1].rstrip())
        if not text.endswith(">") or header is None:
            raise line.error(f"not a section's beginning: {text}")
        section = Section(header["kind"].lower(), (header["name"] or "").lower(), len(self.lines) - 1)
        opened[-1].sections.append(section)
        if empty:
            section.last = section.first
        else:
            opened.append(section)

    def _close(self, text: str, line: Line, opened: list[Section]) -> None:
        if len(opened) == 1:
            raise line.error(f"{text} closes nothing")
        section = opened.pop()
        if not text.endswith(">") or text[2:-1].rstrip().lower() != section.kind:
            begun = self.lines[section.first].number
            raise line.error(f"{text} where {section} of line {begun} is open")
        section.last = len(self.lines) - 1

    def _directive(self, text: str, line: Line, section: Section, including: tuple[Path, ...]) -> None:
        name, value = _key(text, line)
        if name not in ("define", "import", "include") or not value:
            raise line.error(f"not a directive: %{text}")
        if name == "define":
            defined, *definition = value.split(None, 1)
            self.defines[defined.lower()] = substitute("".join(definition), self.defines, self._environment, line)
        elif name == "import":
            self.imports.append(substitute(value, self.defines, self._environment, line))
        else:
            self._include(
                substitute(value, self.defines, self._environment, line), line, section, (*including, line.file)
            )

    def _include(self, address: str, line: Line, section: Section, including: tuple[Path, ...]) -> None:
        if re.match(r"(?!file:)[a-z]+:", address):  # a URL or package:NAME:FILE means the same from anywhere
            return
        path = line.file.parent / unquote(re.sub(r"^file:(//)?", "", address))
        if path in including:
            raise line.error(f"{path} includes itself")
        self.lines[-1] = Line(f"# {line.text.strip()}", line.file, line.number)
        self.read_file(path, section, including=including)


def _key(text: str, line: Line) -> tuple[str, str]:
    match = _KEY.match(text)
    if match is None:
        raise line.error(f"neither a key nor a section: {text}")
    return match["name"], match["value"] or ""


def _text(path: Path) -> str:
    try:
        return files.read_text(path)
    except OSError as error:
        raise ZenwebserverError(f"{path} cannot be read: {error.strerror}") from error
