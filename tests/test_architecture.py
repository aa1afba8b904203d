"""Who may import whom (docs/design.md), read from the imports themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import zenwebserver

SOURCE = Path(zenwebserver.__file__).parent
OURS = "zenwebserver"
# Room -> the rooms that it may import, besides itself. `package` is zenwebserver/__init__.py.
ARROWS = {
    "cli": {"client", "errors", "home", "ports", "pool", "takeover", "package"},
    "client": {"errors", "home", "identity", "pool", "ports", "package"},
    "pool": {"errors", "files"},
    "settings": {"errors", "home", "pool"},
    "home": {"errors"},
    "site": {"errors", "files", "home", "settings", "pool"},
    "nginx": {"errors", "files", "home", "settings", "pool"},
    "takeover": {"client", "errors", "files", "home", "identity", "pool", "ports", "settings", "package"},
    "worker": set(),
}
OF_THE_SITE = {"AccessControl", "App", "OFS", "Products", "ZEO", "ZODB", "ZPublisher", "Zope2", "paste", "transaction"}
OF_THE_SITE |= {"waitress", "zope", "Testing"}
OF_PROCESSES_SOCKETS_AND_CLOCKS = {"asyncio", "multiprocessing", "psutil", "signal", "socket", "subprocess", "time"}


def modules(room: str) -> list[Path]:
    folder = SOURCE / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def rooms() -> set[str]:
    return {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}


def imports(module: Path) -> Iterator[str]:
    """The dotted names of all modules that `module` imports, inside functions too; relative ones made absolute."""
    package = [OURS, *module.relative_to(SOURCE).parent.parts]
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{source}.{name.name}" for name in node.names)


def rooms_imported_by(module: Path) -> set[str]:
    parts = [name.split(".") for name in imports(module)]
    ours = [part[1] for part in parts if part[0] == OURS and len(part) > 1]
    return {name if name in rooms() else "package" for name in ours}


def outsiders_imported_by(module: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(module)} - {OURS}


@pytest.mark.parametrize("room", ARROWS)
def test_a_room_imports_only_the_rooms_that_the_design_gives_it(room: str) -> None:
    assert modules(room)
    wrong = {
        str(module.relative_to(SOURCE)): surplus
        for module in modules(room)
        if (surplus := rooms_imported_by(module) - ARROWS[room] - {room})
    }
    assert not wrong


def test_nobody_imports_the_worker() -> None:
    importers = [path for path in SOURCE.rglob("*.py") if "worker" in rooms_imported_by(path)]
    assert [path for path in importers if SOURCE / "worker" not in path.parents] == []


def test_only_the_command_imports_the_command_and_only_the_supervisor_the_supervisor() -> None:
    for room in ("cli", "supervisor"):
        outside = [path for path in SOURCE.rglob("*.py") if SOURCE / room not in path.parents]
        assert [path for path in outside if room in rooms_imported_by(path)] == []


def test_only_the_worker_imports_zope() -> None:
    importers = [path for path in SOURCE.rglob("*.py") if outsiders_imported_by(path) & OF_THE_SITE]
    assert [path for path in importers if SOURCE / "worker" not in path.parents] == []


@pytest.mark.parametrize("room", ["pool", "settings", "home", "nginx/config"])
def test_pure_rooms_know_no_process_socket_or_clock(room: str) -> None:
    assert {
        str(path): found
        for path in modules(room)
        if (found := outsiders_imported_by(path) & OF_PROCESSES_SOCKETS_AND_CLOCKS)
    } == {}
