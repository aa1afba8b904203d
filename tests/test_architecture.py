"""Who may import whom (docs/design.md), read from the imports themselves."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

import zenwebserver

SOURCE = Path(zenwebserver.__file__).parent
SUPERVISOR = SOURCE / "supervisor"
OURS = "zenwebserver"
Arrows = Mapping[str, set[str]]
# Room -> the rooms that it imports, besides itself; all of them, and each arrow is used. `package` is __init__.py.
ARROWS: Arrows = {
    "__main__": {"cli", "errors"},
    "cli": {"client", "errors", "finding", "home", "machine", "nginx", "pool", "settings", "takeover"} | {"package"},
    "client": {"errors", "home", "left_behind", "machine"},
    "errors": set(),
    "finding": {"errors", "home", "takeover"},
    "home": {"errors", "machine"},
    "left_behind": {"errors", "home", "machine", "nginx", "pool"},
    "machine": {"errors"},
    "nginx": {"errors", "home", "machine", "settings"},
    "pool": {"errors", "machine"},
    "settings": {"errors", "machine"},
    "site": {"errors", "home", "machine"},
    "supervisor": {"errors", "home", "machine", "nginx", "pool", "settings", "site", "worker", "package"},
    "takeover": {"errors", "home", "machine"},
    "worker": set(),
    "package": set(),
}
# The same inside the supervisor: operations -> parts -> line -> machine, and never back.
ARROWS_IN_THE_SUPERVISOR: Arrows = {
    "line": {"tasks"},
    "parts": {"line", "tasks"},
    "operations": {"line", "membership", "parts", "published", "report", "supervisor"},
    "adoption": {"line", "parts", "supervisor"},
    "api": {"changes", "operations", "report", "snapshot", "supervisor"},
    "candidates": set(),
    "changes": set(),
    "control_socket": {"gate"},
    "daemon": {"adoption", "api", "candidates", "control_socket", "health", "lock", "log", "report", "starter"}
    | {"succession", "supervisor", "tasks", "whereabouts"},
    "gate": set(),
    "health": {"line", "parts", "supervisor"},
    "lock": set(),
    "log": set(),
    "membership": {"publisher"},
    "published": {"candidates", "line"},
    "publisher": {"parts", "published"},
    "report": set(),
    "snapshot": {"parts", "supervisor"},
    "starter": set(),
    "succession": {"lock", "starter"},
    "supervisor": {"changes", "line", "membership", "parts", "published", "publisher", "tasks"},
    "tasks": set(),
    "whereabouts": {"control_socket", "lock", "supervisor"},
    "__main__": {"daemon", "starter"},
    "package": set(),
}
# The one file of the worker that others import: what crosses the line, for both its ends.
LANGUAGE_OF_THE_LINE = f"{OURS}.worker.messages."
SPEAK_IT = {"line", "parts", "health", "adoption"}  # of the supervisor
OF_THE_SITE = {
    "AccessControl",
    "Acquisition",
    "App",
    "OFS",
    "Products",
    "ZEO",
    "ZODB",
    "ZPublisher",
    "Zope2",
    "paste",
    "transaction",
}
OF_THE_SITE |= {"waitress", "zope", "Testing"}
OF_PROCESSES_SOCKETS_AND_CLOCKS = {"asyncio", "multiprocessing", "psutil", "signal", "socket", "subprocess", "time"}


@cache
def rooms(house: Path) -> dict[str, list[Path]]:
    """The files of each room: a folder, or a file by itself."""
    found = {"package": [house / "__init__.py"]}
    for path in sorted(house.iterdir()):
        if path.suffix == ".py" and path.stem != "__init__":
            found[path.stem] = [path]
        elif path.is_dir() and (files := sorted(path.rglob("*.py"))):
            found[path.name] = files
    return found


@cache
def imports(module: Path) -> tuple[str, ...]:
    """The dotted names of all that `module` imports, inside functions too; relative ones made absolute."""
    return tuple(_imports(module))


def _imports(module: Path) -> Iterator[str]:
    package = [OURS, *module.relative_to(SOURCE).parent.parts]
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{source}.{name.name}" for name in node.names)


def rooms_imported_by(module: Path, house: Path) -> set[str]:
    """The rooms of `house` that `module` imports something of."""
    prefix = [OURS, *house.relative_to(SOURCE).parts]
    names = [name.split(".") for name in imports(module)]
    inside = [name[len(prefix)] for name in names if name[: len(prefix)] == prefix and len(name) > len(prefix)]
    return {name if name in rooms(house) else "package" for name in inside}


def outsiders_imported_by(module: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(module)} - {OURS}


@pytest.mark.parametrize(("house", "arrows"), [(SOURCE, ARROWS), (SUPERVISOR, ARROWS_IN_THE_SUPERVISOR)])
def test_every_room_is_drawn(house: Path, arrows: Arrows) -> None:
    assert set(rooms(house)) == set(arrows)


@pytest.mark.parametrize(
    ("house", "room", "arrows"),
    [(SOURCE, room, arrows) for room, arrows in ARROWS.items()]
    + [(SUPERVISOR, room, arrows) for room, arrows in ARROWS_IN_THE_SUPERVISOR.items()],
)
def test_a_room_imports_just_the_rooms_that_the_design_gives_it(house: Path, room: str, arrows: set[str]) -> None:
    by_file = {str(path.relative_to(house)): rooms_imported_by(path, house) - {room} for path in rooms(house)[room]}
    assert {file: surplus for file, found in by_file.items() if (surplus := found - arrows)} == {}
    assert arrows - set().union(*by_file.values()) == set(), "arrows that nobody uses"


def test_of_the_worker_only_the_language_of_the_line_is_imported_and_only_where_it_is_spoken() -> None:
    for path in (path for room, files in rooms(SOURCE).items() if room != "worker" for path in files):
        of_the_worker = [name for name in imports(path) if name.startswith(f"{OURS}.worker")]
        assert [name for name in of_the_worker if not name.startswith(LANGUAGE_OF_THE_LINE)] == [], path
    speakers = {
        room
        for room, files in rooms(SUPERVISOR).items()
        for path in files
        if any(name.startswith(LANGUAGE_OF_THE_LINE) for name in imports(path))
    }
    assert speakers == SPEAK_IT


def test_the_language_of_the_line_needs_the_standard_library_alone() -> None:
    assert outsiders_imported_by(SOURCE / "worker" / "messages.py") <= set(sys.stdlib_module_names)


def test_only_the_worker_imports_zope() -> None:
    importers = [path for path in SOURCE.rglob("*.py") if outsiders_imported_by(path) & OF_THE_SITE]
    assert [path for path in importers if SOURCE / "worker" not in path.parents] == []


@pytest.mark.parametrize("room", ["pool.py", "settings", "home.py", "nginx/config.py"])
def test_pure_rooms_know_no_process_socket_or_clock(room: str) -> None:
    path = SOURCE / room
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    assert files
    assert {
        str(file): found for file in files if (found := outsiders_imported_by(file) & OF_PROCESSES_SOCKETS_AND_CLOCKS)
    } == {}
