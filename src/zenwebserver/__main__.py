"""The command's beginning. Loading the rest takes a while, and until then Ctrl-C ends it without a word."""

from __future__ import annotations

import os
import signal

from zenwebserver.errors import INTERRUPTED


def main() -> None:
    """The entry point."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else a shell's background job, which ignores it
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    from zenwebserver.cli.main import main as command

    command()


if __name__ == "__main__":
    main()
