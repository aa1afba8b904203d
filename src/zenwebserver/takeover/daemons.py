"""etc/daemons.txt: the daemons of a Zenoss-like home, one a line, `#` begins a comment. Pure.

A *Zope server* is a daemon whose name begins with `zope` (zopectl, zopectl2, zopectl-1, zope1ctl …). The
file is switched without being asked twice only where `zopectl` is the only one, once. Anything else is
somebody's own load balancer; there, `force` switches the first `zopectl`, or where there is none the first
Zope server, and leaves the others.
"""

from __future__ import annotations

import re

from zenwebserver.takeover.switch import OURS, ZOPECTL, Found, Switch, Word, decoded, encoded, with_names

_NAME = re.compile(r"[^\s#]+")


def switch_daemons(text: bytes, *, force: bool = False) -> Switch:
    """The text in which zenwebserver stands for zopectl; every other byte stays."""
    content = decoded(text)
    names = _names(content)
    zopes = [word for word in names if word.name.startswith("zope")]
    if any(word.name == OURS for word in names):
        return Switch(Found.ALREADY, text, others=tuple(zopes))
    if not zopes:
        return Switch(Found.NOTHING, text)
    ours = next((word for word in zopes if word.name == ZOPECTL), zopes[0])
    others = tuple(word for word in zopes if word is not ours)
    if (others or ours.name != ZOPECTL) and not force:
        return Switch(Found.SEVERAL, text, ours.name, ours.line, others)
    return Switch(Found.SWITCHED, encoded(with_names(content, [ours], OURS)), ours.name, ours.line, others)


def undo_daemons(text: bytes, word: str) -> bytes | None:
    """The text, edited since, with our line put back as `word`; None where it holds no line of ours.

    Where somebody put a line `word` back already, ours goes away, so that the server is not started twice.
    """
    content = decoded(text)
    names = _names(content)
    ours = next((each for each in names if each.name == OURS), None)
    if ours is None:
        return None
    if not any(each.name == word for each in names):
        return encoded(with_names(content, [ours], word))
    begin = content.rfind("\n", 0, ours.start) + 1
    end = content.find("\n", ours.end) + 1 or len(content)
    if content[begin:end].strip() == OURS:
        return encoded(content[:begin] + content[end:])
    return encoded(with_names(content, [ours], ""))


def _names(content: str) -> list[Word]:
    words: list[Word] = []
    position = 0
    for number, line in enumerate(content.split("\n"), start=1):
        words.extend(
            Word(match[0], number, position + match.start(), position + match.end())
            for match in _NAME.finditer(line.partition("#")[0])
        )
        position += len(line) + 1
    return words
