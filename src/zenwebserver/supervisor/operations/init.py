"""init: make a home."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from zenwebserver import settings
from zenwebserver.errors import UsageError, ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.machine import files
from zenwebserver.nginx import config
from zenwebserver.site.create import create
from zenwebserver.supervisor.report import Report
from zenwebserver.supervisor.supervisor import Supervisor


async def init(supervisor: Supervisor, report: Report, *, values: Mapping[str, str] | None = None) -> str:
    """Make what the home lacks; an existing home is left as it is."""
    home = supervisor.home
    if home.exists():
        refuse_other_values(home, values or {})
        refresh_shipped_files(home)
        return f"The home is there already: {home.path}"
    make_home(home, report, values or {})
    return f"The home is made: {home.path}"


def refuse_other_values(home: Home, values: Mapping[str, str]) -> None:
    """Raises UsageError where the home's settings are not those `values`, which are for a new one."""
    text = files.read_text(home.settings_file)
    if others := [name for name, value in values.items() if with_values(text, {name: value}) != text]:
        raise UsageError(
            f"The home is there already, and its settings stay as they are: {home.path} (--set {' '.join(others)})",
            hint=f"Nothing was done. Edit {home.settings_file}; then: zenwebserver configure, zenwebserver restart",
        )


def with_values(text: str, values: Mapping[str, str]) -> str:
    """Raises UsageError where one of them can stand in no settings file."""
    try:
        return settings.with_values(text, values)
    except ValueError as error:
        raise UsageError(f"--set: {error}", hint="Nothing was done.") from error


def make_home(home: Home, report: Report, values: Mapping[str, str]) -> None:
    """The site, then nginx's template, and the settings last: a home is one when it has settings."""
    text = settings.first_text(values, home.path, config.variables(config.shipped_template()))
    with report.step(f"Creating {home.path}"):
        home.make_folders()
        credentials = create(home)
        refresh_shipped_files(home)
        files.replace(home.settings_file, text)
    if credentials:
        report.event(user=credentials.user, password=credentials.password)


def refresh_shipped_files(home: Home) -> None:
    """The template and the error page, where they are missing or as an earlier version shipped them."""
    if not is_edited(home.nginx_template):
        _put(home.nginx_template, config.shipped_template())
    if not home.error_page.exists():
        _put(home.error_page, config.shipped_error_page())


def is_edited(template: Path) -> bool:
    """Whether an admin made it what it is."""
    try:
        return not config.is_unedited(files.read_text(template))
    except FileNotFoundError:
        return False
    except ZenwebserverError:  # no version shipped what is no text; whoever needs the template says what is wrong
        return True


def _put(path: Path, text: str) -> None:
    if not files.holds(path, text):
        files.replace(path, text)
