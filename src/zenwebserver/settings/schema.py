"""schema.xml as values: the keys in their order, each with its type, default, sentence and heading."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from io import StringIO
from xml.etree import ElementTree

import ZConfig

from zenwebserver.settings.datatypes import Datatype


@dataclass(frozen=True)
class Key:
    """A key of zenwebserver.conf; `default` is the text that stands there when nobody sets it."""

    name: str
    attribute: str
    datatype: Datatype
    default: str
    sentence: str
    heading: str


@cache
def keys() -> dict[str, Key]:
    """Every key by its name, in the schema's order."""
    text = (files("zenwebserver.settings") / "schema.xml").read_text(encoding="utf-8")
    headings = _headings(text)
    return {
        name: Key(
            name=name,
            attribute=info.attribute,
            datatype=info.datatype,
            default=info.getdefault().value,
            sentence=" ".join(info.description.split()),
            heading=headings[name],
        )
        for name, info in ZConfig.loadSchemaFile(StringIO(text))
    }


def _headings(schema: str) -> dict[str, str]:
    """The comment above each key; ZConfig knows no headings."""
    builder = ElementTree.TreeBuilder(insert_comments=True)
    root = ElementTree.XML(schema, ElementTree.XMLParser(target=builder))  # noqa: S314 - our own file
    heading = ""
    headings = {}
    for element in root:
        if element.tag == "key":
            headings[element.attrib["name"]] = heading
        elif not isinstance(element.tag, str):  # a comment
            heading = (element.text or "").strip()
    return headings
