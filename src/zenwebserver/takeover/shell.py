"""Reading a bash script just far enough to know which of its characters are run, and which only shown. Pure.

Not a parser: no expansion, no grammar. It follows quotes, comments, here-documents and `$( )`, and knows
the first word of each command.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MESSAGES = {"echo", "printf", "logger", "cat", ":"}  # these show their words, they do not run them
_KEYWORDS = {"if", "then", "else", "elif", "while", "until", "do", "time", "!", "{"}  # a command follows
_FIRST_WORD = re.compile(r"[^\s;&|()<>\"'`]+")
_HEREDOC = re.compile(r"<<(-?)[ \t]*(['\"\\]?)([A-Za-z_]\w*)")


@dataclass
class _Frame:
    """Where the scanner is: in commands (`script`, `paren`, `tick`) or in double quotes (`quote`)."""

    kind: str
    message: bool = False  # in the words of echo and its like
    fresh: bool = True  # the next word is a command


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.shown = bytearray(len(text))
        self.frames = [_Frame("script")]
        self.heredocs: list[tuple[str, bool]] = []  # the word that ends it, whether it is only shown

    @property
    def frame(self) -> _Frame:
        return self.frames[-1]

    def scan(self) -> bytearray:
        position = 0
        while position < len(self.text):
            after = self._quoted(position) if self.frame.kind == "quote" else self._command(position)
            position = max(after, position + 1)
        return self.shown

    def _show(self, start: int, end: int, *, shown: bool) -> int:
        if shown:
            end = min(end, len(self.text))
            self.shown[start:end] = b"\1" * (end - start)
        return end

    def _quoted(self, at: int) -> int:
        character = self.text[at]
        if character == '"':
            self.frames.pop()
        elif character == "`":
            self._tick()
        elif self.text.startswith("$(", at):
            self.frames.append(_Frame("paren"))
            return at + 2
        else:
            return self._show(at, at + (2 if character == "\\" else 1), shown=self.frame.message)
        return at + 1

    def _command(self, at: int) -> int:
        character = self.text[at]
        begins = at == 0 or self.text[at - 1] in " \t\r\n;&|()<>`"
        if character == "\n":
            return self._next_line(at)
        if character == "#" and begins:
            end = self.text.find("\n", at)
            return self._show(at, len(self.text) if end < 0 else end, shown=True)
        if character in ";|&" and not self._redirects(at):
            self.frame.fresh, self.frame.message = True, False
        elif character == "(" or self.text.startswith("$(", at):
            self.frames.append(_Frame("paren"))
            return at + (1 if character == "(" else 2)
        elif character == ")":
            if self.frame.kind == "paren":
                self.frames.pop()
            else:  # a pattern of `case`
                self.frame.fresh, self.frame.message = True, False
        elif character == "`":
            self._tick()
        elif self.text.startswith("<<", at):
            return self._here(at)
        elif not character.isspace():
            return self._word(at, begins=begins)
        return at + 1

    def _word(self, at: int, *, begins: bool) -> int:
        character = self.text[at]
        if begins and self.frame.fresh:
            first = _FIRST_WORD.match(self.text, at)
            word = first[0] if first else ""
            if word not in _KEYWORDS and not re.match(r"\w+\+?=", word):
                self.frame.fresh, self.frame.message = False, word in _MESSAGES
        if character == '"':
            self.frames.append(_Frame("quote", self.frame.message))
            return at + 1
        if character == "'":
            end = self.text.find("'", at + 1)
            return self._show(at, len(self.text) if end < 0 else end + 1, shown=self.frame.message)
        return self._show(at, at + (2 if character == "\\" else 1), shown=self.frame.message)

    def _tick(self) -> None:
        """A backquote: the end of the one that is open, or the begin of one."""
        open_ones = [number for number, frame in enumerate(self.frames) if frame.kind == "tick"]
        if open_ones:
            del self.frames[open_ones[-1] :]
        else:
            self.frames.append(_Frame("tick"))

    def _redirects(self, at: int) -> bool:
        """Whether the `&` or `|` belongs to `>&2`, `&>file` or `>|file`."""
        before, after = self.text[at - 1 : at], self.text[at + 1 : at + 2]
        return self.text[at] in "&|" and (before in ("<", ">") or (self.text[at] == "&" and after == ">"))

    def _here(self, at: int) -> int:
        if self.text.startswith("<<<", at):
            return at + 3
        match = _HEREDOC.match(self.text, at)
        if match is None:
            return at + 2
        self.heredocs.append((match[3], self.frame.message))
        return match.end() + len(match[2]) * (match[2] != "\\")

    def _next_line(self, at: int) -> int:
        self.frame.fresh, self.frame.message = True, False
        position = at + 1
        for word, shown in self.heredocs:
            end = re.compile(rf"^\t*{word}[ \t\r]*$", re.MULTILINE).search(self.text, position)
            if end:  # otherwise it was no here-document but a shift in arithmetic
                position = self._show(position, end.end(), shown=shown)
        self.heredocs.clear()
        return position


def shown_only(text: str) -> bytearray:
    """One byte a character: 1 in comments and in the words of messages, 0 where the shell runs it."""
    return _Scanner(text).scan()
