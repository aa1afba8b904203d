"""`python -m zenwebserver.supervisor HOME DESCRIPTOR`: the command starts the supervisor so."""

from __future__ import annotations

import sys
from pathlib import Path

from zenwebserver.home import Home
from zenwebserver.supervisor.daemon import main

if __name__ == "__main__":
    sys.exit(main(Home.at(Path(sys.argv[1])), int(sys.argv[2])))
