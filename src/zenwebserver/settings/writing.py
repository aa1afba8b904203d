"""Texts made from the schema: a fresh zenwebserver.conf, one with values set, the reference for users."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from textwrap import fill

from zenwebserver.settings.schema import Key, keys

_HEAD = """\
# The settings of zenwebserver.
#
# A line is "key value"; a line that begins with # is a comment, and a comment needs a line of its own.
# $ZENHOME is the home, the folder above this file's folder.
# Every key stands here with its default: take the # away from its line, and change the value.
#
# "zenwebserver verify" checks this file. "zenwebserver configure" and then "zenwebserver reload" put it
# into effect for the load balancer; "zenwebserver restart" for the servers too.
"""

_REFERENCE_HEAD = """\
# Settings

<!-- Generated from the schema: `python -m zenwebserver.settings > docs/settings.md`. -->

The settings stand in `etc/zenwebserver.conf` of the home. `zenwebserver init` makes that file with every key,
its default and a sentence, commented out.

- A line is `key value`. A line that begins with `#` is a comment; a comment needs a line of its own.
- Keys are written exactly as here, upper and lower case included. Each may stand once.
- `$ZENHOME` and `${ZENHOME}` expand to the home's path; `$$` is a plain dollar sign.
- A path holds no quotes, `;`, `{`, `}`, `$` and backslashes: it enters nginx's configuration.
- A further key is a variable of `etc/nginx.conf.template`, where the template uses it.
- `zenwebserver verify` checks the file. A mistake is told with its line, and nothing is changed.
- `zenwebserver configure` and then `zenwebserver reload` put the settings into effect for the load balancer,
  `zenwebserver restart` for the servers too.
"""

_TABLE_HEAD = "| key | default | accepted | what it is |\n| --- | --- | --- | --- |\n"


def commented_defaults() -> str:
    """A fresh zenwebserver.conf: every key with its sentence and its default, commented out."""
    parts = [_HEAD]
    for heading, group in _by_heading():
        parts.append(f"\n\n# ---- {heading} ----\n")
        for key in group:
            accepts = key.datatype.accepts
            said = f"{key.sentence} Accepted: {accepts}.".replace("`", "")
            said = fill(said, width=100, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
            parts.append(f"\n{said}\n{f'#{key.name} {key.default}'.rstrip()}\n")
    return "".join(parts)


def with_values(text: str, values: Mapping[str, str]) -> str:
    """`text` with each key of `values` set: in its line, else below its commented default, else at the end.

    The values are written as they are, so `$ZENHOME` in them expands later.
    Raises ValueError for a line break in one.
    """
    lines = text.split("\n")
    for name, value in values.items():
        new = f"{name} {value}".rstrip()
        if not re.fullmatch(r"[^\W\d]\w*", name) or len(new.splitlines()) > 1:
            raise ValueError(f"no line of a settings file: {new!r}")
        _set(lines, name, new)
    return "\n".join(lines)


def _set(lines: list[str], name: str, new: str) -> None:
    active = _find(lines, rf"\s*{name}(?![^\s()])")
    commented = _find(lines, rf"\s*#{name}(?!\S)")
    if active is not None:
        lines[active] = new + _line_end(lines[active])
    elif commented is not None:
        lines.insert(commented + 1, new + _line_end(lines[commented]))
    else:
        if lines[-1]:
            lines.append("")
        lines.insert(len(lines) - 1, new + _line_end(lines[0]))


def _find(lines: list[str], pattern: str) -> int | None:
    return next((number for number, line in enumerate(lines) if re.match(pattern, line)), None)


def _line_end(line: str) -> str:
    """What stands before the line feed: files from Windows have a carriage return there."""
    return "\r" if line.endswith("\r") else ""


def reference() -> str:
    """docs/settings.md."""
    parts = [_REFERENCE_HEAD]
    for heading, group in _by_heading():
        parts.append(f"\n## {heading}\n\n{_TABLE_HEAD}")
        for key in group:
            default = f"`{key.default}`" if key.default else "(empty)"
            parts.append(f"| `{key.name}` | {default} | {key.datatype.accepts} | {key.sentence} |\n")
    return "".join(parts)


def _by_heading() -> Iterator[tuple[str, Iterator[Key]]]:
    return groupby(keys().values(), key=lambda key: key.heading)
