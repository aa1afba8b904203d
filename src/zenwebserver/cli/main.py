"""The command: all its verbs, and how errors end it."""

from __future__ import annotations

import sys

from zenwebserver.cli import configuration, foreground, lifecycle, membership, output, takeover
from zenwebserver.cli.verbs import cli
from zenwebserver.errors import ZenwebserverError

# Each of these adds its verbs to `cli` when it is imported.
FAMILIES = (configuration, foreground, lifecycle, membership, takeover)


def main() -> None:
    """The entry point."""
    try:
        cli.main(prog_name="zenwebserver")
    except ZenwebserverError as error:
        output.show_error(error)
        sys.exit(error.exit_code)
