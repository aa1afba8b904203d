"""What in a home leads into another one: refused, until the admin has said that it is meant."""

from __future__ import annotations

import json

from zenwebserver.errors import UsageError
from zenwebserver.home import Home
from zenwebserver.machine import files
from zenwebserver.site import elsewhere
from zenwebserver.site.elsewhere import Lead
from zenwebserver.supervisor import published
from zenwebserver.supervisor.report import Report
from zenwebserver.supervisor.supervisor import Supervisor


async def accept(supervisor: Supervisor, report: Report) -> str:
    """All that leads elsewhere now is meant, as long as the home stands where it does."""
    home = supervisor.home
    if not home.exists():
        raise home.missing()
    if found := _leads(home):
        files.replace(home.accepted_paths, json.dumps(_record(home, found), indent=2) + "\n")
    for lead in found:
        report.note(f"It is meant: {lead}")
    return ""


def refuse(home: Home, *, command: str = "the command") -> None:
    """Raises UsageError for what nobody has said to be meant, which `command` with --force would."""
    accepted = _accepted(home)
    if found := [lead for lead in _leads(home) if str(lead.path) not in accepted]:
        first = found[0]
        own = "$ZENHOME" if first.file == home.settings_file else "$(ZENHOME)"
        raise UsageError(
            str(first),
            hint=f"Nothing was done. Correct it (in {first.file.name}, {own} is this home, wherever it stands); "
            f"or, if it is meant, add --force to {command}: that is remembered as long as the home stands here.",
            detail="\n".join(map(str, found[1:])),
        )


def _leads(home: Home) -> list[Lead]:
    return elsewhere.leads(home, published.former_place(home))


def _record(home: Home, found: list[Lead]) -> dict[str, object]:
    return {"home": str(home.path), "paths": sorted({str(lead.path) for lead in found})}


def _accepted(home: Home) -> set[str]:
    """What was meant in the home that a copy comes from need not be meant in the copy."""
    try:
        record = json.loads(files.read_text(home.accepted_paths))
        return set(map(str, record["paths"])) if record["home"] == str(home.path) else set()
    except (OSError, ValueError, KeyError, TypeError):
        return set()
