"""How a command looks where it has nowhere to look like anything."""

from __future__ import annotations

import subprocess
import sys

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
