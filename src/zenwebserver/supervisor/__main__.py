"""How the supervisor is started, also by a command or a supervisor of another version: these words stay as they are.

`python -m zenwebserver.supervisor HOME LINE`: by a command, which hears on the descriptor LINE how it goes.
`python -m zenwebserver.supervisor HOME --succeed LINE LOCK`: by the supervisor that is to be succeeded, which says on
LINE when it has let go, and whose lock of the home is the descriptor LOCK.
"""

from __future__ import annotations

import sys
from pathlib import Path

from zenwebserver.home import Home
from zenwebserver.supervisor.daemon import main
from zenwebserver.supervisor.starter import Predecessor, Starter


def start(home: str, *words: str) -> int:
    at = Home.at(Path(home))
    if words[0] == "--succeed":
        return main(at, Predecessor(int(words[1])), int(words[2]))
    return main(at, Starter(int(words[0])))


if __name__ == "__main__":
    sys.exit(start(*sys.argv[1:]))
