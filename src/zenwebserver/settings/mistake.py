"""A mistake in etc/zenwebserver.conf, told to the person who made it."""

from __future__ import annotations

from pathlib import Path

from zenwebserver.errors import ZenwebserverError

CORRECT_IT = "Nothing was changed. Correct the file and try again."


class SettingsError(ZenwebserverError):
    """The settings cannot be used: the message holds the file, the line if there is one, what is wrong."""

    def __init__(
        self, source: Path | str, line: int | None, wrong: str, *, hint: str = CORRECT_IT, detail: str = ""
    ) -> None:
        place = str(source) if line is None else f"{source}, line {line}"
        super().__init__(f"{place}: {wrong}", hint=hint, detail=detail)
        self.source = source
        self.line = line
        self.wrong = wrong


def quoted(text: str) -> str:
    """`text` as it can be shown on a terminal: what cannot be printed is escaped."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return f'"{shown}"'
