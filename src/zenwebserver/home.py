"""Every path under $ZENHOME, in one place."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from zenwebserver.errors import ZenwebserverError
from zenwebserver.machine.files import make_folder

# A Unix socket's path holds 107 bytes (sun_path in <sys/un.h>); the longest one below the home is the supervisor's.
LONGEST_HOME = 107 - len("/var/run/supervisor.sock")


@dataclass(frozen=True)
class Home:
    """A zenwebserver home: what the admin sets, the site, its data, what runs now and the logs."""

    path: Path

    @classmethod
    def find(cls, environment: Mapping[str, str]) -> Home:
        """The home that the environment names: ZENHOME, else $XDG_DATA_HOME/zenwebserver."""
        if named := environment.get("ZENHOME"):
            path = Path(named).expanduser()
        else:
            data = environment.get("XDG_DATA_HOME") or str(Path("~/.local/share").expanduser())
            path = Path(data) / "zenwebserver"
        return cls.at(path)

    @classmethod
    def at(cls, path: Path) -> Home:
        """The home at `path`. Raises ZenwebserverError where its sockets would have no room, or no folder can be."""
        absolute = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow a linked home
        if len(os.fsencode(absolute)) > LONGEST_HOME:
            raise ZenwebserverError(
                f"The home's path is too long for Unix sockets: {absolute}",
                hint=f"Set ZENHOME to a path of at most {LONGEST_HOME} bytes.",
            )
        if (found := _first_that_exists(absolute)) and not os.path.isdir(found):  # noqa: PTH112 - never raises
            raise ZenwebserverError(
                f"The home cannot be at {absolute}: {found} is no folder",
                hint="Set ZENHOME to a folder, or to a path where one can be made.",
            )
        return cls(absolute)

    def exists(self) -> bool:
        """Whether a home was made here; a missing or empty folder is none."""
        return self.settings_file.exists()

    # What the admin sets, and what is generated from it.
    @property
    def etc(self) -> Path:
        return self.path / "etc"

    @property
    def settings_file(self) -> Path:
        return self.etc / "zenwebserver.conf"

    @property
    def nginx_template(self) -> Path:
        return self.etc / "nginx.conf.template"

    @property
    def nginx_conf(self) -> Path:
        return self.etc / "nginx.conf"

    @property
    def nginx_pool_conf(self) -> Path:
        """The servers that nginx sends traffic to, included by nginx.conf."""
        return self.etc / "nginx-zope.conf"

    # The site.
    @property
    def zope_conf(self) -> Path:
        return self.etc / "zope.conf"

    @property
    def zope_ini(self) -> Path:
        return self.etc / "zope.ini"

    @property
    def pool_folder(self) -> Path:
        return self.etc / "zope"

    @property
    def pool_record(self) -> Path:
        return self.pool_folder / "pool.json"

    @property
    def storage_conf(self) -> Path:
        return self.pool_folder / "storage.conf"

    @property
    def storage_mark(self) -> str:
        """What the command of this home's storage has in it, and no other."""
        return f'"storage": {json.dumps(str(self.storage_conf))}'

    def server_conf(self, name: str) -> Path:
        """The generated zope.conf of server `name` ("1", "2", "debug" …)."""
        return self.pool_folder / f"zope{name}.conf"

    # Data and what runs.
    @property
    def var(self) -> Path:
        return self.path / "var"

    def client_home(self, name: str) -> Path:
        return self.var / f"zope{name}"

    @property
    def nginx_var(self) -> Path:
        return self.var / "nginx"

    @property
    def nginx_pid(self) -> Path:
        return self.var / "nginx.pid"

    @property
    def run(self) -> Path:
        return self.var / "run"

    def pid_file(self, name: str) -> Path:
        """`name`: "supervisor", "storage", "zope1" …"""
        return self.run / f"{name}.pid"

    @property
    def former_lock_file(self) -> Path:
        """What a supervisor holds that was started before `etc` itself was locked (supervisor/lock.py)."""
        return self.run / "supervisor.lock"

    @property
    def control_socket(self) -> Path:
        return self.run / "supervisor.sock"

    @property
    def workers_socket(self) -> Path:
        """Where servers call the supervisor."""
        return self.run / "workers.sock"

    @property
    def storage_socket(self) -> Path:
        return self.run / "storage.sock"

    # Logs and pages.
    @property
    def log(self) -> Path:
        return self.path / "log"

    @property
    def nginx_log(self) -> Path:
        return self.log / "nginx"

    def server_log(self, name: str) -> Path:
        return self.log / f"zope{name}.log"

    @property
    def supervisor_log(self) -> Path:
        return self.log / "zenwebserver.log"

    @property
    def storage_log(self) -> Path:
        return self.log / "storage.log"

    @property
    def zygote_log(self) -> Path:
        return self.log / "zygote.log"

    @property
    def html(self) -> Path:
        return self.path / "html"

    @property
    def error_page(self) -> Path:
        return self.html / "zenwebserver_50x.html"

    def folders(self) -> tuple[Path, ...]:
        """Every folder that zenwebserver itself needs, parents first."""
        return (
            self.path,
            self.etc,
            self.pool_folder,
            self.var,
            self.run,
            self.nginx_var,
            self.log,
            self.nginx_log,
            self.html,
        )

    def make_folders(self) -> None:
        """Make what is missing, for the owner of the nearest folder that is there; var/run is the owner's alone."""
        for folder in self.folders():
            make_folder(folder, mode=0o700 if folder == self.run else 0o755)


def _first_that_exists(path: Path) -> Path | None:
    """The path, or the nearest folder above it; a link that leads nowhere exists."""
    return next((each for each in (path, *path.parents) if os.path.lexists(each)), None)
