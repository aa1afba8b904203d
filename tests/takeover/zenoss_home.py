"""A Zenoss-like home whose bin/zopectl is a real script with a real process, and a look at all of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from zenwebserver.home import Home
from zenwebserver.takeover import Installed, Kind, Product, Uninstalled, install, uninstall

DAEMONS = b"# what runs here\r\nzeoctl\r\n  zopectl \t# the web server\r\nzenhub"
SCRIPT = b'#! /bin/bash\n# zopectl and the rest\necho "zopectl next"\n$ZENHOME/bin/zopectl "$@"\nzenhub "$@"\n'

# `stop` waits for the server's end: the fifo that it holds open closes with it.
ZOPECTL = """#! /bin/bash
pid_file=$ZENHOME/var/Z2.pid
case $1 in
start)
  mkfifo "$ZENHOME/var/alive"
  setsid sleep 600 >/dev/null 2>&1 </dev/null 3<>"$ZENHOME/var/alive" &
  echo $! >"$pid_file"
  ;;
status)
  if [ -f "$pid_file" ]; then echo "program running; pid=$(cat "$pid_file")"; else
    echo "daemon manager not running"; exit 1
  fi
  ;;
stop)
  exec 4<"$ZENHOME/var/alive"
  kill "$(cat "$pid_file")"
  cat <&4
  rm "$pid_file" "$ZENHOME/var/alive"
  ;;
esac
"""


@dataclass
class Site:
    """The home, and what a caller of the room gives."""

    home: Home
    command: Path
    entered: list[str] = field(default_factory=list)

    @property
    def products(self) -> tuple[Product, ...]:
        home = self.home
        return (
            Product(home.nginx_conf, Kind.GENERATED),
            Product(home.error_page, Kind.GENERATED),
            Product(home.settings_file, Kind.EDITABLE),
            Product(home.nginx_var, Kind.TREE),
            Product(home.html, Kind.FOLDER),
        )

    def configure(self) -> None:
        """Like the real one: makes files and folders, replaces a file that may be there."""
        self.home.nginx_var.mkdir(exist_ok=True)
        (self.home.nginx_var / "cache").mkdir(exist_ok=True)
        self.home.html.mkdir(exist_ok=True)
        self.home.error_page.write_text("sorry\n")
        self.home.nginx_conf.write_text("# generated\n")
        if not self.home.settings_file.exists():
            self.home.settings_file.write_text("# httpPort 8080\n")

    @contextmanager
    def steps(self, what: str) -> Iterator[None]:
        self.entered.append(what)
        yield

    def zopectl(self, verb: str) -> str:
        done = subprocess.run(
            [self.home.path / "bin" / "zopectl", verb],
            env={**os.environ, "ZENHOME": str(self.home.path)},
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def snapshot(self) -> dict[str, tuple[int, object]]:
        """Every path of the home: mode, and bytes and time of change, or where it points to."""
        found: dict[str, tuple[int, object]] = {}
        for path in sorted(self.home.path.rglob("*")):
            status = path.lstat()
            content: object = None
            if path.is_symlink():
                content = path.readlink()
            elif path.is_file():
                content = (path.read_bytes(), status.st_mtime_ns)
            found[str(path.relative_to(self.home.path))] = (status.st_mode, content)
        return found


def make_site(folder: Path, *, daemons: bytes | None = DAEMONS, script: bytes | None = SCRIPT) -> Site:
    home = Home.at(folder / "zenhome")
    for name in ("bin", "etc", "var"):
        (home.path / name).mkdir(parents=True)
    zopectl = home.path / "bin" / "zopectl"
    zopectl.write_text(ZOPECTL)
    zopectl.chmod(0o755)
    home.nginx_conf.write_text("# the admin's own\n")
    home.nginx_conf.chmod(0o640)
    for path, content, mode in (
        (home.etc / "daemons.txt", daemons, 0o664),
        (home.path / "bin/zenoss", script, 0o750),
    ):
        if content is not None:
            path.write_bytes(content)
            path.chmod(mode)
            os.utime(path, ns=(10**18, 10**18 + 123456789))
    command = folder / "venv" / "zenwebserver"
    command.parent.mkdir()
    command.write_text(f"#! {sys.executable}\n")
    command.chmod(0o755)
    return Site(home, command)


def do_install(site: Site, *, force: bool = False, script: Path | None = None) -> Installed:
    return install(
        site.home,
        command=site.command,
        startup_script=script,
        force=force,
        steps=site.steps,
        configure=site.configure,
        products=site.products,
    )


def do_uninstall(site: Site) -> Uninstalled:
    return uninstall(site.home, steps=site.steps)
