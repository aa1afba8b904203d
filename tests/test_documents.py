"""The documents agree with each other, with the command and with the settings."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import zenwebserver.cli
from zenwebserver.cli.main import cli
from zenwebserver.settings.schema import keys

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
SETTINGS = set(keys())
# Keys of an admin's own, which the examples add to nginx.conf.template.
VARIABLES_OF_EXAMPLES = {"visitorTimeout"}
FENCE = re.compile(r"^```(.*)\n((?:.*\n)*?)```$", re.MULTILINE)

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def verbs() -> set[str]:
    """Every verb; the modules of the command add theirs when they are imported."""
    for module in pkgutil.iter_modules(zenwebserver.cli.__path__):
        importlib.import_module(f"zenwebserver.cli.{module.name}")
    return set(cli.list_commands(click.Context(cli)))


def prose(document: Path) -> str:
    """The text without its blocks of code."""
    return FENCE.sub("", document.read_text(encoding="utf-8"))


def blocks(document: Path, *languages: str) -> Iterator[str]:
    for language, code in FENCE.findall(document.read_text(encoding="utf-8")):
        if language in languages:
            yield code


def inline_code(document: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(document))


def shell_lines(document: Path) -> list[str]:
    """What a reader is told to type, in blocks and in the text."""
    return [line for code in blocks(document, "sh") for line in code.splitlines()] + inline_code(document)


def anchors(document: Path) -> set[str]:
    """The headings as links name them."""
    headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_document
def test_links_lead_to_files_and_headings_that_exist(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if re.match(r"https?:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


@every_document
def test_files_of_the_repository_that_are_named_exist(document: Path) -> None:
    for word in inline_code(document):
        # docs/benchmarks.md is written by `make bench-warm`.
        if re.fullmatch(r"(?:src|tests|docs|bench)/[\w./-]*", word) and word != "docs/benchmarks.md":
            assert (ROOT / word).exists(), word


def test_every_document_is_reached_from_the_readme() -> None:
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in re.findall(r"\]\(([^)\s]+)\)", prose(README))}
    missing = {path.name for path in DOCUMENTS if path != README and path.resolve() not in linked}
    assert missing <= {"benchmarks.md"}


def test_the_readme_tells_of_every_command_and_of_no_other() -> None:
    rows = re.findall(r"^\| `([a-z]+)[^`]*` \|", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == verbs()


@every_document
def test_commands_that_a_reader_types_exist(document: Path) -> None:
    known = verbs()
    for line in shell_lines(document):
        for word in re.findall(r"(?:^|[\s/])zenwebserver ([a-z]+)", line):
            if "git clone" not in line:
                assert word in known, line


@every_document
def test_make_targets_that_a_reader_types_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for line in shell_lines(document):
        if found := re.match(r"(?:.*&& )?make ([a-z-]+)", line):
            assert found[1] in targets, line


@every_document
def test_settings_that_are_named_exist(document: Path) -> None:
    lines = [line for code in blocks(document, "zenwebserver.conf") for line in code.splitlines()]
    named = {line.split()[0] for line in lines if line and not line.startswith("#")}
    # In the text a setting is camelCase, which nothing else is here, alone or with a value behind it.
    named |= {word.split()[0] for word in inline_code(document) if re.match(r"[a-z]+[A-Z]\w*(?: |$)", word)}
    named |= {key for line in shell_lines(document) for key in re.findall(r"--set[ =]([a-z]\w*)=", line)}
    assert named <= SETTINGS | VARIABLES_OF_EXAMPLES


@every_document
def test_no_path_of_a_particular_machine_is_named(document: Path) -> None:
    found = re.findall(r"(?<![\w$}.])/(?:work|tmp|root/|home/|Users)\b\S*", document.read_text(encoding="utf-8"))
    assert found == []
