"""How nginx is called, and what it says of a configuration. Starting and ending it is the supervisor's work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.machine.programs import said

VERIFY_SECONDS = 60.0


def start_arguments(binary: Path, home: Home) -> list[str]:
    """The command that ends when the master has its ports and goes on in the background.

    In the foreground nginx would ignore the signal for a binary upgrade as long as its parent lives.
    """
    return [str(binary), "-p", f"{home.path}/", "-c", str(home.nginx_conf)]


def verify_arguments(binary: Path, home: Home, conf: Path) -> list[str]:
    return [str(binary), "-t", "-q", "-p", f"{home.path}/", "-c", str(conf)]


async def verify(binary: Path, home: Home, conf: Path, *, in_child: Callable[[], object] | None = None) -> None:
    """Ask nginx whether it takes `conf`. Raises ZenwebserverError with nginx's words.

    nginx binds the ports to verify them; `in_child` gives its process the right to, where it needs one.
    """
    made_pid_file = not home.nginx_pid.exists()
    try:
        answer = await said(verify_arguments(binary, home, conf), VERIFY_SECONDS, folder=home.path, in_child=in_child)
    except TimeoutError:
        raise ZenwebserverError(f"nginx did not verify {conf} within {VERIFY_SECONDS:g} s") from None
    finally:
        if made_pid_file and _is_empty(home.nginx_pid):  # else it is that of an nginx that has started meanwhile
            home.nginx_pid.unlink(missing_ok=True)
    if answer.code != 0:
        hint = "Nothing was changed."
        if "(13: Permission denied)" in answer.words and "bind()" in answer.words:
            hint = (
                "A port below 1024 needs the right to bind it: start as root (all the same, everything runs as the "
                "owner of the home), "
                "or allow it with: sysctl net.ipv4.ip_unprivileged_port_start=80. Nothing was changed."
            )
        raise ZenwebserverError("nginx rejects the configuration", hint=hint, detail=answer.words)


def _is_empty(path: Path) -> bool:
    try:
        return path.stat().st_size == 0
    except OSError:
        return False
