"""The Python of the site, as the setting `python` names it: whether it is one, and has what the site needs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from zenwebserver.errors import ZenwebserverError, told
from zenwebserver.home import Home
from zenwebserver.machine.programs import said
from zenwebserver.supervisor.line import launch

ANSWER_SECONDS = 60.0  # for a loaded machine; it takes a fraction of a second
LAST_WORDS = 5  # lines
MODULES = ("Zope2", "waitress", "paste.deploy")


async def check(home: Home, python: Path, *, storage: bool = False) -> None:
    """Raises ZenwebserverError where `python` cannot run the site, or `storage`. Our own is not asked."""
    if str(python) == sys.executable:
        return
    answer = await _ask(home, python, [*MODULES, *(["ZEO"] if storage else ())])
    try:
        missing = json.loads(answer.splitlines()[-1])["missing"]
    except (ValueError, LookupError, TypeError):
        last = "\n".join(answer.splitlines()[-LAST_WORDS:])
        raise _refused(home, f"is no Python that can run the site: {python}", last) from None
    if missing:
        raise _refused(home, f"has no {', '.join(missing)}: {python}", "")


async def _ask(home: Home, python: Path, modules: Sequence[str]) -> str:
    """What it says. Raises ZenwebserverError where it cannot be run."""
    arguments = launch.present_arguments(str(python), modules)
    try:
        return (await said(arguments, ANSWER_SECONDS, env=launch.environment(home))).words
    except TimeoutError:  # an OSError, too
        raise _refused(home, f"says nothing for {ANSWER_SECONDS:g} s: {python}", "") from None
    except OSError as error:
        raise _refused(home, _why_not(python, error), "") from error


def _why_not(python: Path, error: OSError) -> str:
    if python.is_dir():
        return f"is a folder: {python}"
    if isinstance(error, FileNotFoundError):
        what = "needs an interpreter that does not exist" if python.exists() else "does not exist"
        return f"{what}: {python}"
    return f"cannot be run: {told(error)}"


def _refused(home: Home, why: str, words: str) -> ZenwebserverError:
    return ZenwebserverError(
        f"The program of the setting `python` {why}",
        hint=f"Set `python` in {home.settings_file} to the Python that the site is installed for, e.g. a virtual "
        "environment's bin/python. What runs goes on as it was.",
        detail=words,
    )
