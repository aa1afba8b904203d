from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
import ZConfig

from zenwebserver.errors import ZenwebserverError
from zenwebserver.site import sections


def read(tmp_path: Path, text: str, **others: str) -> sections.Document:
    for name, other in others.items():
        (tmp_path / f"{name}.conf").write_text(other)
    path = tmp_path / "zope.conf"
    path.write_text(text)
    return sections.read(path, os.environ)


def value(document: sections.Document, name: str) -> str:
    key = document.root.key(name)
    assert key is not None
    return document.value(key)


def test_keys_and_section_types_are_found_in_any_case(tmp_path: Path) -> None:
    document = read(
        tmp_path,
        "InstanceHome /x\n<ZODB_DB Main>\n  <FileStorage>\n  PATH  /d \n</filestorage>\n</zodb_db>\n",
    )
    (database,) = document.root.sections
    assert (database.kind, database.name) == ("zodb_db", "main")
    assert [section.kind for section in database.walk()] == ["zodb_db", "filestorage"]
    assert database.sections[0].keys[0].name == "path"
    assert value(document, "instancehome") == "/x"


def test_a_section_knows_its_first_and_last_line(tmp_path: Path) -> None:
    document = read(tmp_path, "a 1\n<x>\n  <y/>\n  b 2\n</x>\nc 3\n")
    (x,) = document.root.sections
    assert (x.first, x.last) == (1, 4)
    assert (x.sections[0].first, x.sections[0].last) == (2, 2)


def test_values_are_substituted_as_zconfig_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("Some_Place", "/env")
    document = read(
        tmp_path,
        "%define ROOT /r\n%define\tSub ${ROOT}/sub\n%define EMPTY\n"
        "a $root/x\nb ${SUB}x$EMPTY\nc $(Some_Place)/y\nd 5$$ $$root\n",
    )
    assert [value(document, name) for name in "abcd"] == ["/r/x", "/r/subx", "/env/y", "5$ $root"]


def test_comments_are_no_keys(tmp_path: Path) -> None:
    document = read(tmp_path, "# <zodb_db main>\n  # a 1\n\nb 2\n")
    assert [key.name for key in document.root.keys] == ["b"]
    assert document.root.sections == []


def test_an_include_stands_in_its_place_and_shares_the_definitions(tmp_path: Path) -> None:
    document = read(
        tmp_path,
        "%define which more\n<zodb_db main>\n  %include $which.conf\n</zodb_db>\n",
        more="%define place /p\n%include last.conf\n",
        last="<filestorage>\npath $place\n</filestorage>\n",
    )
    (database,) = document.root.sections
    assert database.sections[0].kind == "filestorage"
    assert document.value(database.sections[0].keys[0]) == "/p"
    assert "%include" not in "\n".join(line.text for line in document.lines if not line.text.startswith("#"))


def test_an_include_from_elsewhere_stays_a_directive(tmp_path: Path) -> None:
    document = read(tmp_path, "%include package:some.where:part.conf\n")
    assert [line.text for line in document.lines] == ["%include package:some.where:part.conf"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a 1\n<x>\nb 2\n", "zope.conf, line 2: <x> is never closed"),
        ("<x>\n<y n>\n</x>\n", "zope.conf, line 3: </x> where <y n> of line 2 is open"),
        ("a 1\n</x>\n", "zope.conf, line 2: </x> closes nothing"),
        ("<x\n", "zope.conf, line 1: not a section's beginning: <x"),
        ("<a b c>\n</a>\n", "zope.conf, line 1: not a section's beginning: <a b c>"),
        ("(a)\n", "zope.conf, line 1: neither a key nor a section: (a)"),
        ("%defin a b\n", "zope.conf, line 1: not a directive: %defin a b"),
        ("%define a $b\n", "zope.conf, line 1: $b is not defined"),
        ("%define a 5$\n", "zope.conf, line 1: a lone $ in: 5$"),
        ("%include zope.conf\n", "zope.conf includes itself"),
        ("\n%include other.conf\n", "other.conf, line 2: <x> is never closed"),
        ("%include gone.conf\n", "gone.conf cannot be read: No such file or directory"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ZenwebserverError) as raised:
        read(tmp_path, text, other="a 1\n<x>\n")
    assert raised.value.message.endswith(said)


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "zope.conf"
    path.write_bytes(b"instancehome /\xe9\n")
    with pytest.raises(ZenwebserverError, match=r"zope\.conf is not UTF-8: line 1, byte 0xe9"):
        sections.read(path, os.environ)


def test_the_definitions_that_zconfig_reads_are_those_that_are_read_here(tmp_path: Path) -> None:
    text = "%define A x\n%define B ${a}y$$\nk $b/$A\n"
    schema = ZConfig.loadSchemaFile(io.StringIO('<schema><key name="k"/></schema>'))
    root, _ = ZConfig.loadConfigFile(schema, io.StringIO(text))
    assert value(read(tmp_path, text), "k") == root.k
