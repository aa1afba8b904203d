"""Every path under $ZENHOME, in one place."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from zenwebserver.errors import UsageError, ZenwebserverError
from zenwebserver.machine.files import make_folder

# A Unix socket's path holds 107 bytes (sun_path in <sys/un.h>); the longest one below the home is the supervisor's.
LONGEST_HOME = 107 - len("/var/run/supervisor.sock")
# What cannot be told to nginx, or which it takes for a pattern or a variable (nginx/config.py, settings/datatypes.py);
# and what PasteDeploy, which reads zope.ini, takes for the end of its path (#) or for one of its variables (%).
IMPOSSIBLE = re.compile(r"""["'`;{}$\\*?#%\[\]\x00-\x1f\x7f\ud800-\udfff]""")
# What an `init` that was cut off has left, and what a file system has that is empty.
AT_ITS_TOP = {"etc", "var", "log", "html", "inituser", "lost+found"}


@dataclass(frozen=True)
class Home:
    """A zenwebserver home: what the admin sets, the site, its data, what runs now and the logs."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> Home:
        """The home at `path`. Raises UsageError where none can be there."""
        absolute = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow a linked home
        if len(os.fsencode(absolute)) > LONGEST_HOME:
            raise UsageError(
                f"The home's path is too long for Unix sockets: {absolute}",
                hint=f"Set ZENHOME to a path of at most {LONGEST_HOME} bytes.",
            )
        if character := IMPOSSIBLE.search(str(absolute)):
            shown = os.fsencode(absolute).decode(errors="replace")
            raise UsageError(
                f"The home's path holds {character[0]!r}, which nginx, Zope or PasteDeploy would take for "
                f"something else: {shown}",
                hint="Move the home, or set another ZENHOME.",
            )
        if (found := _first_that_exists(absolute)) and not os.path.isdir(found):  # noqa: PTH112 - never raises
            raise UsageError(
                f"The home cannot be at {absolute}: {found} is no folder",
                hint="Set ZENHOME to a folder, or to a path where one can be made.",
            )
        return cls(absolute)

    def exists(self) -> bool:
        """Whether a home was made here; a missing or empty folder is none."""
        return self.settings_file.exists()

    def is_other_than(self, folder: Path) -> bool:
        """Whether `folder` is another home, though one of the two may be called as the other was before."""
        try:
            return Home(folder).exists() and not folder.samefile(self.path)
        except OSError:
            return False

    def missing(self, whence: str = "") -> UsageError:
        """What is said where a home is needed and none was made; `whence` says why it is looked for here."""
        return UsageError(
            f"There is no home at {self.path}{f' ({whence})' if whence else ''}",
            hint="Nothing was done. To make one there: zenwebserver init. To work in another one, set ZENHOME to it.",
        )

    def refuse_strangers(self) -> None:
        """A home is made in a new folder, or becomes of a Zope instance.

        Raises UsageError where the folder holds something else, ZenwebserverError where that cannot be seen.
        """
        if self.zope_conf.exists():
            return
        try:
            strangers = sorted({each.name for each in self.path.iterdir()} - AT_ITS_TOP)
        except FileNotFoundError:
            return
        except OSError as error:
            raise ZenwebserverError(f"{self.path} cannot be read: {error.strerror}") from error
        if strangers:
            shown = ", ".join(strangers[:3]) + (", …" if len(strangers) > 3 else "")
            raise UsageError(
                f"{self.path} is no home, no Zope instance and not empty: it holds {shown}",
                hint="Nothing was done. Set ZENHOME to another folder; or, if the home is to be made there: "
                "zenwebserver init --force",
            )

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
    def accepted_paths(self) -> Path:
        """What leads into another home, and is meant (supervisor/operations/elsewhere.py)."""
        return self.pool_folder / "accepted.json"

    @property
    def storage_conf(self) -> Path:
        return self.pool_folder / "storage.conf"

    @property
    def storage_mark(self) -> str:
        """How the last argument of this home's storage begins, and no other's (supervisor/line/launch.py)."""
        return f'{{"storage": {json.dumps(str(self.storage_conf))}'

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
