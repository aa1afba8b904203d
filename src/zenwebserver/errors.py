"""The one kind of error that is meant for a person: it says what is wrong and what to do, and shows no traceback."""

from __future__ import annotations

from enum import IntEnum

INTERRUPTED = 130  # an exit code, as shells have it: 128 + SIGINT


class Exit(IntEnum):
    """Exit codes of the command."""

    DONE = 0
    FAILED = 1  # it did not work, or is not running
    USAGE = 2  # wrong use


class ZenwebserverError(Exception):
    """What went wrong, in words for an admin.

    `hint` says what to do; `detail` is evidence to show below: a traceback of the site, nginx's words, lines of a log.
    """

    exit_code: Exit = Exit.FAILED

    def __init__(self, message: str, *, hint: str = "", detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail


class UsageError(ZenwebserverError):
    """The command was used wrongly: nothing was done."""

    exit_code = Exit.USAGE


class NeedsConsent(UsageError):
    """Refused unless the admin says so; on a terminal, the admin is asked."""


def told(error: BaseException) -> str:
    """What is said of it. Of what the machine refused: the file, where there is one, and the reason, not its number."""
    if not isinstance(error, OSError):
        return str(error)
    reason = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename else reason
