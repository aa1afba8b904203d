"""A terminal with a shell that runs one command, as a person has it: keys are typed, what appears is read."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time

import psutil
from harness import COMMAND, WAIT_SECONDS, Site

# The shell lives on when the command ends, or is killed; so the terminal does not hang up on what the command started.
SHELL = 'trap : INT; "$@"; echo "exit=$?"; read _'
CONTROL_C = "\x03"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """Runs `zenwebserver ARGUMENTS` of `site`; use it with `with`."""

    def __init__(self, site: Site, *arguments: str) -> None:
        self.raw = ""  # all that has appeared
        self._seen = 0
        self._typing, theirs = pty.openpty()
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", SHELL, "sh", str(COMMAND), *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**site.environment, "TERM": "xterm"},
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(theirs)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()

    @property
    def text(self) -> str:
        """The same without colours and the like."""
        return ESCAPES.sub("", self.raw)

    def type(self, keys: str) -> None:
        os.write(self._typing, keys.encode())

    def expect(self, pattern: str, seconds: float = WAIT_SECONDS) -> re.Match[str]:
        """Wait until `pattern` appears behind what was expected before."""
        deadline = time.monotonic() + seconds
        while not (found := re.compile(pattern).search(self.text, self._seen)):
            left = deadline - time.monotonic()
            assert left > 0 and self._read(left), f"{pattern!r} does not appear:\n{self.text}"
        self._seen = found.end()
        return found

    def exit_code(self) -> int:
        """Wait until the command has ended."""
        return int(self.expect(r"exit=(\d+)\r?\n")[1])

    def shows_typing(self) -> bool:
        return bool(termios.tcgetattr(self._typing)[3] & termios.ECHO)

    def command(self) -> psutil.Process:
        return psutil.Process(self._shell.pid).children()[0]

    def hang_up(self) -> None:
        """Close the terminal's window."""
        if self._shell.returncode is None:
            os.close(self._typing)
            self._shell.wait(WAIT_SECONDS)

    def _read(self, seconds: float) -> bool:
        readable, _, _ = select.select([self._typing], [], [], seconds)
        try:
            self.raw += os.read(self._typing, 65536).decode(errors="replace") if readable else ""
        except OSError:  # nobody has the other end any more
            return False
        return bool(readable)


def _take_terminal() -> None:
    """In the shell's process: this is its terminal, and it hears the hang-up, though the tests may run under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
