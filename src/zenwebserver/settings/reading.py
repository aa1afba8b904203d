"""From the text of zenwebserver.conf to Settings, or the first mistake with its line."""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn

import ZConfig.substitution
from ZConfig.cfgparser import ZConfigParser
from ZConfig.loader import Resource

from zenwebserver.machine import files
from zenwebserver.settings.clashes import refuse_clashes
from zenwebserver.settings.mistake import SettingsError, quoted
from zenwebserver.settings.model import Settings
from zenwebserver.settings.schema import Key, keys

# $(NAME), which ZConfig takes from the environment; $$ is a plain dollar sign.
_FROM_ENVIRONMENT = re.compile(r"(?<!\$)(?:\$\$)*\$\(")


def load(path: Path, home: Path, known_variables: Collection[str] = ()) -> Settings:
    """The settings that stand in the file `path`. Raises SettingsError, ZenwebserverError where it is no text."""
    try:
        text = files.read_text(path)
    except FileNotFoundError:
        hint = "Nothing was changed. `zenwebserver init` makes a home with this file."
        raise SettingsError(path, None, "the file does not exist", hint=hint) from None
    except OSError as error:
        hint = "Nothing was changed. Check the file's owner and permissions."
        raise SettingsError(path, None, f"the file cannot be read: {error.strerror}", hint=hint) from None
    return parse(text, home, known_variables, path)


def parse(
    text: str, home: Path, known_variables: Collection[str] = (), source: Path | str = "zenwebserver.conf"
) -> Settings:
    """The settings that `text` says, the defaults for the others; `source` names it in errors.

    `known_variables` are the further keys that nginx.conf.template uses. Raises SettingsError.
    """
    expand = {"zenhome": str(home)}
    said = _Said(known_variables, source)
    _Parser(source, Resource(StringIO(text), None), expand).parse(said)
    values = dict(said.values)
    for key in keys().values():
        if key.attribute not in values:
            default = ZConfig.substitution.substitute(key.default, expand)
            values[key.attribute] = _convert(key, default, source, None)
    settings = Settings(**values, variables=said.variables)
    refuse_clashes(settings, said.lines, source)
    return settings


class _Parser(ZConfigParser):  # type: ignore[misc]
    """ZConfig's lines and substitution; no sections, no directives, nothing from the environment."""

    def __init__(self, source: Path | str, resource: Resource, defines: dict[str, str]) -> None:
        super().__init__(resource, None, defines)
        self._source = source

    def error(self, message: str) -> NoReturn:
        wrong = "this is no setting; a line is `key value` (sections and % directives have no use here)"
        raise SettingsError(self._source, self.lineno, wrong)

    def start_section(self, section: object, rest: str) -> NoReturn:
        self.error(rest)

    def end_section(self, section: object, rest: str) -> NoReturn:
        self.error(rest)

    def handle_directive(self, section: object, rest: str) -> NoReturn:
        self.error(rest)

    def replace(self, text: str) -> str:
        try:
            if not _FROM_ENVIRONMENT.search(text):
                return str(super().replace(text))
        except (ZConfig.SubstitutionSyntaxError, ZConfig.SubstitutionReplacementError):
            pass
        wrong = f"in {quoted(text)} only $ZENHOME expands; a plain dollar sign is written $$"
        raise SettingsError(self._source, self.lineno, wrong)


class _Said:
    """What the lines of the file say; the parser calls `addValue` for each."""

    def __init__(self, known_variables: Collection[str], source: Path | str) -> None:
        self._known_variables = frozenset(known_variables)
        self._source = source
        self.lines: dict[str, int] = {}
        self.values: dict[str, Any] = {}  # by attribute
        self.variables: dict[str, str] = {}

    def addValue(self, name: str, text: str, position: tuple[int, None, None]) -> None:  # ZConfig's name
        line = position[0]
        if name in self.lines:
            wrong = f"{name} is set already in line {self.lines[name]}"
            raise SettingsError(self._source, line, wrong)
        if key := keys().get(name):
            self.values[key.attribute] = _convert(key, text, self._source, line)
        elif name in self._known_variables:
            if not text.replace("\t", " ").isprintable():
                wrong = f"{name} cannot be {quoted(text)}: it holds a character that cannot be printed"
                raise SettingsError(self._source, line, wrong)
            self.variables[name] = text
        else:
            self._refuse_unknown(name, line)
        self.lines[name] = line

    def _refuse_unknown(self, name: str, line: int) -> NoReturn:
        valid = [*keys(), *sorted(self._known_variables - keys().keys())]
        bare = re.match(r"\w*", name)
        if bare and bare[0] in valid and name[bare.end()] in "=:":
            wrong = f"write `{bare[0]} value`, without {quoted(name[bare.end()])}"
            raise SettingsError(self._source, line, wrong)
        wrong = f"{quoted(name)} is no setting, and no variable of nginx.conf.template"
        by_lower_case = {known.lower(): known for known in valid}
        if nearest := get_close_matches(name.lower(), by_lower_case, n=1):
            raise SettingsError(self._source, line, f"{wrong}; did you mean {by_lower_case[nearest[0]]}?")
        raise SettingsError(self._source, line, wrong, detail="The settings are: " + ", ".join(valid))


def _convert(key: Key, text: str, source: Path | str, line: int | None) -> object:
    who = key.name if line is not None else f"the default of {key.name}"
    wrong = f"{who} cannot be {quoted(text)}: "
    if line is not None and re.search(r"\s#", text):
        raise SettingsError(source, line, f"{wrong}a comment needs a line of its own")
    try:
        return key.datatype(text)
    except ValueError as error:
        reason = f"{error}; " if str(error) else ""
        accepts = key.datatype.accepts.replace("`", "")
        raise SettingsError(source, line, f"{wrong}{reason}accepted is {accepts}") from None
