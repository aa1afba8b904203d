"""How a command looks where it has nowhere to look like anything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SAYS = "from zenwebserver.cli import output; output.line('done'); output.err.print('an error'); sys.exit(3)"


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_a_command_whose_output_is_closed_does_its_work_all_the_same(closed: str) -> None:
    ran = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, f"import sys; {SAYS}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 3, ran.stderr
    assert ran.stdout == ("" if ">&- " in f"{closed} ".replace("2>&-", "") else "done\n")
    assert "Traceback" not in ran.stderr


COMMAND = [sys.executable, "-c", "from zenwebserver.__main__ import main; main()"]
NO_HOME = {**os.environ, "ZENHOME": "/nonexistent/home"}


@pytest.mark.parametrize("words", ["status", "status -v", "status --json", "--help", "help deploy", "--version"])
def test_a_full_output_is_told_without_a_traceback(words: str) -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [*COMMAND, *words.split()], env=NO_HOME, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-2:] == [
        "zenwebserver: The output cannot be written: No space left on device",
        "What it had begun, if anything, goes on. To see how it stands: zenwebserver status",
    ]
    assert "Traceback" not in ran.stderr


def test_where_errors_have_no_room_either_the_exit_code_tells() -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run([*COMMAND, "status"], env=NO_HOME, stdout=full, stderr=full, check=False)
    assert ran.returncode == 1


INTERRUPTED_WHILE_IT_LOADS = """
import os, signal, sys
wanted = sys.argv[1]
class Interrupting:
    def find_spec(self, name, *_):
        if name == wanted:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
from zenwebserver.__main__ import main
sys.argv[1:] = ["status"]
main()
"""


@pytest.mark.parametrize("module", ["zenwebserver.cli", "click", "rich.console", "psutil", "zenwebserver.cli.takeover"])
def test_an_interrupt_while_it_loads_ends_it_without_a_word(module: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_WHILE_IT_LOADS, module],
        env=NO_HOME,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")


def test_a_shells_background_job_goes_on_ignoring_it() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_WHILE_IT_LOADS, "click"],
        env=NO_HOME,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert (ran.returncode, ran.stdout) == (1, "not running\n")
