"""Makes the Zope instance of a home where it is missing: what mkwsgiinstance makes, and an administrator."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from zenwebserver.errors import UsageError
from zenwebserver.home import Home
from zenwebserver.machine import files
from zenwebserver.machine.files import make_folder
from zenwebserver.site import zope_conf

MAGIC_BYTES = 4  # of a Data.fs that storage has made, and nobody has stored anything in
_SKELETON = Path(__file__).parent / "skeleton"

# Zope reads the first line only; the second tells ours from one that an admin made.
_MARK = "# Made by zenwebserver. Zope makes this user in a new database, and removes the file.\n"


@dataclass(frozen=True)
class Credentials:
    """The site's first administrator. The password is nowhere else in clear: whoever gets this shows it."""

    user: str
    password: str = field(repr=False)


def create(home: Home, *, user: str = "admin") -> Credentials | None:
    """Make what the home's site lacks; nothing that is there is overwritten. Safe to repeat when interrupted.

    Returns new credentials as long as the site's Data.fs does not exist: former ones were perhaps never seen.
    So show them before the storage starts. None for a site that has data, keeps it elsewhere (ZEO,
    RelStorage), or has an `inituser` of the admin's own. Raises ZenwebserverError, OSError.
    """
    if not re.fullmatch(r"[A-Za-z0-9._@-]+", user):
        raise UsageError(f"Not a user's name: {user!r}", hint="Use letters, digits and . _ @ -")
    home.make_folders()
    _write_where_missing(home.etc / "site.zcml", "site.zcml")
    _write_where_missing(home.zope_ini, "zope.ini.in")
    if not home.zope_conf.exists():
        # ZODB itself makes var/blobstorage, anew with a new Data.fs.
        make_folder(home.var / "filestorage")
        make_folder(home.var / "cache")
    _write_where_missing(home.zope_conf, "zope.conf.in")
    if not _lacks_administrator(home):
        return None
    credentials = Credentials(user, secrets.token_urlsafe(18))
    files.replace(_inituser(home), f"{user}:{_hashed(credentials.password)}\n{_MARK}", mode=0o600)
    return credentials


def is_new(home: Home, data_files: Iterable[Path]) -> bool:
    """Whether no server ever opened the site's database, which is in `data_files`."""
    return _inituser(home).exists() or not all(map(_holds_something, data_files))


def _holds_something(data_file: Path) -> bool:
    return data_file.exists() and data_file.stat().st_size > MAGIC_BYTES


def _write_where_missing(path: Path, template: str) -> None:
    if not path.exists():
        files.replace(path, (_SKELETON / template).read_text(encoding="utf-8"))


def _lacks_administrator(home: Home) -> bool:
    conf = zope_conf.read(home.zope_conf)
    if conf.instance_home.resolve() != home.path.resolve() or not conf.data_files:
        return False
    if any(file.exists() for file in conf.data_files):
        return False
    inituser = _inituser(home)
    return not inituser.exists() or inituser.read_bytes().endswith(_MARK.encode())  # the admin's may be no text


def _inituser(home: Home) -> Path:
    return home.path / "inituser"


def _hashed(password: str) -> str:
    """Salted SHA-1 as LDAP has it, which every Zope verifies; the password itself has 144 random bits."""
    salt = secrets.token_bytes(16)
    digest = hashlib.sha1(password.encode() + salt).digest()  # noqa: S324
    return "{SSHA}" + base64.b64encode(digest + salt).decode()
