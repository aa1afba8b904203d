"""A start-up script (bash): the places where it calls zopectl. Pure.

A call is the word `zopectl`, alone or below a `bin` folder or a variable's (`$ZENHOME/bin/zopectl "$@"`,
`zopectl start`, `for daemon in zeoctl zopectl`); not in a comment or a message, and not as a part of
another word (myzopectl, zopectl.log). Every call becomes one of zenwebserver. Where a zopectl of another
name is called too (zopectl2, zope1ctl …), the rule of daemons.txt holds.
"""

from __future__ import annotations

import re

from zenwebserver.takeover.shell import shown_only
from zenwebserver.takeover.switch import OURS, ZOPECTL, Found, Switch, Word, decoded, encoded, with_names

_ZOPE = re.compile(rf"zope(?:[-_]?\d+)?ctl(?:[-_.]?\d+)?|{OURS}")
_BEFORE = " \t\r\n\"'`;&|(,{="
_AFTER = " \t\r\n\"'`;&|),}<>\\"
_COMMANDS_FOLDER = re.compile(r"(?:\bs?bin|\.|\$\w+|[)}`])[\"']?/$")
_LONGEST_PATH = 4096  # PATH_MAX: no folder in front of a name is longer


def switch_startup_script(text: bytes, *, force: bool = False) -> Switch:
    """The text that calls zenwebserver wherever it called zopectl; every other byte stays."""
    content = decoded(text)
    calls = _calls(content)
    zopes = [word for word in calls if word.name != OURS]
    if len(zopes) < len(calls):
        return Switch(Found.ALREADY, text, others=tuple(zopes))
    if not zopes:
        return Switch(Found.NOTHING, text)
    first = next((word for word in zopes if word.name == ZOPECTL), zopes[0])
    ours = [word for word in zopes if word.name == first.name]
    others = tuple(word for word in zopes if word.name != first.name)
    if (others or first.name != ZOPECTL) and not force:
        return Switch(Found.SEVERAL, text, first.name, first.line, others)
    return Switch(Found.SWITCHED, encoded(with_names(content, ours, OURS)), first.name, first.line, others)


def undo_startup_script(text: bytes, word: str) -> bytes | None:
    """The text, edited since, that calls `word` again; None where it does not call zenwebserver any more."""
    content = decoded(text)
    ours = [each for each in _calls(content) if each.name == OURS]
    return encoded(with_names(content, ours, word)) if ours else None


def _calls(content: str) -> list[Word]:
    shown = shown_only(content)
    return [
        Word(match[0], content.count("\n", 0, match.start()) + 1, match.start(), match.end())
        for match in _ZOPE.finditer(content)
        if not shown[match.start()] and _stands_alone(content, match.start(), match.end())
    ]


def _stands_alone(content: str, start: int, end: int) -> bool:
    if content[end : end + 1] not in _AFTER:  # the empty string, at the end, is in every string
        return False
    if content[start - 1 : start] == "/":
        return bool(_COMMANDS_FOLDER.search(content[max(0, start - _LONGEST_PATH) : start]))
    if content[max(0, start - 2) : start] == "${":
        return False
    return start == 0 or content[start - 1] in _BEFORE
