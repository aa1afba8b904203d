"""The command: all its verbs, and how errors end it."""

from __future__ import annotations

import contextlib
import sys

from zenwebserver.cli import configuration, foreground, lifecycle, membership, output, takeover
from zenwebserver.cli.verbs import cli
from zenwebserver.errors import Exit, ZenwebserverError, told

# Each of these adds its verbs to `cli` when it is imported.
FAMILIES = (configuration, foreground, lifecycle, membership, takeover)


def main() -> None:
    """Runs the verb that was typed, and ends."""
    try:
        cli.main(prog_name="zenwebserver")
    except ZenwebserverError as error:
        sys.exit(_failed(error))
    except OSError as error:
        sys.exit(_failed(output.lost(error) or ZenwebserverError(told(error))))


def _failed(error: ZenwebserverError) -> Exit:
    with contextlib.suppress(OSError):  # there is no room for that either
        output.show_error(error)
    return error.exit_code
