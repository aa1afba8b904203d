"""What switching a text from zopectl to zenwebserver comes to, in daemons.txt as in a start-up script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

ZOPECTL = "zopectl"
OURS = "zenwebserver"


class Found(Enum):
    """What the text held."""

    SWITCHED = "zopectl"  # and the text now names zenwebserver
    ALREADY = "zenwebserver"  # it names zenwebserver already
    SEVERAL = "several Zope servers"  # or one of another name: a custom load balancer, not switched
    NOTHING = "no Zope server"


@dataclass(frozen=True)
class Word:
    """A daemon's name in the text: where it stands and what it is."""

    name: str
    line: int  # from 1
    start: int  # characters from the text's beginning
    end: int

    def __str__(self) -> str:
        return f"{self.name} (line {self.line})"


@dataclass(frozen=True)
class Switch:
    found: Found
    text: bytes  # the text to write; as it was unless SWITCHED
    word: str = ZOPECTL  # the name that became (SWITCHED) or with `force` would become (SEVERAL) zenwebserver
    line: int = 0  # where it stands first
    others: tuple[Word, ...] = ()  # Zope servers that stay


def with_names(text: str, words: Sequence[Word], name: str) -> str:
    """The text with each of `words` replaced by `name`."""
    for word in sorted(words, key=lambda each: each.start, reverse=True):
        text = text[: word.start] + name + text[word.end :]
    return text


def decoded(text: bytes) -> str:
    """Each byte one character, so that any encoding and any line end come back as they were."""
    return text.decode("latin-1")


def encoded(text: str) -> bytes:
    return text.encode("latin-1")
