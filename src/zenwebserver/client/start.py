"""A supervisor is started, in the background."""

from __future__ import annotations

import os
import subprocess
import sys

from zenwebserver.client.displaced import homelessness
from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home


def start_supervisor(home: Home) -> bool:
    """Start the supervisor, in the background. Returns False where one runs. Raises ZenwebserverError."""
    if error := homelessness(home):
        raise error
    reading, writing = os.pipe()
    with os.fdopen(reading) as said:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "zenwebserver.supervisor", str(home.path), str(writing)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=writing,
            cwd="/",
            pass_fds=(writing,),
            start_new_session=True,
        )
        os.close(writing)
        words = said.read().strip()
    last = words.rpartition("\n")[2]  # what stands above are warnings of its Python
    if last == "ready":
        supervisor.returncode = 0  # it outlives this command, which does not wait for it
    else:
        supervisor.wait()
    if last not in ("ready", "running"):
        raise ZenwebserverError("The supervisor cannot start", detail=words, hint=_what_to_do(home))
    return last == "ready"


def _what_to_do(home: Home) -> str:
    """Where a supervisor cannot start: a home that cannot be written is what it is of first."""
    for folder in (home.path, home.etc, home.var, home.run, home.log):
        if folder.is_dir() and not os.access(folder, os.W_OK):
            return (
                f"{folder} cannot be written: a home holds what is generated, sockets, logs and data. "
                "Let its owner write there, or set ZENHOME to another folder."
            )
    if not home.path.is_dir():
        return "Set ZENHOME to a folder, or to a path where one can be made."
    return f"Its log: {home.supervisor_log}"
