"""The settings of a home that is to be made: the defaults, and what `init --set` says."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from zenwebserver.errors import UsageError
from zenwebserver.settings.mistake import SettingsError
from zenwebserver.settings.reading import parse
from zenwebserver.settings.writing import commented_defaults, with_values

NO_HOME = "Nothing was done: no home was made."


def first_text(values: Mapping[str, str], home: Path, known_variables: Collection[str]) -> str:
    """zenwebserver.conf with `values`. Raises UsageError, which names the value that cannot be."""
    try:
        text = with_values(commented_defaults(), values)
        parse(with_values("", values), home, known_variables, source="--set")
    except ValueError as error:
        raise UsageError(f"--set: {error}", hint=NO_HOME) from error
    except SettingsError as error:
        wrong = re.sub(r"\bline \d+\b", "--set", error.wrong)  # the lines are those of the command
        raise UsageError(f"--set: {wrong}", hint=NO_HOME, detail=error.detail) from error
    return text
