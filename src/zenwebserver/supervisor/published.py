"""What nginx is told: its generated files, rendered, verified by nginx itself, and only then put in place."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.machine import files, privileges
from zenwebserver.machine.files import make_folder
from zenwebserver.nginx import binary, certificates, config, control
from zenwebserver.settings import Settings, load
from zenwebserver.site import zope_conf, zope_ini
from zenwebserver.supervisor.line import launch, site_python

VERIFY_SITE_SECONDS = 120.0  # what zope.conf imports may be large, and the machine busy
AS_IT_IS = "surrogateescape"  # nginx takes any bytes in a comment; so they stop no change of the pool
# What earlier versions left unfinished when they were killed; to others these names mean nothing.
FORMER_IN_ETC = re.compile(r"\.verify-[a-z0-9_]{8}|\.nginx(-zope)?\.conf\.prev\.new")
FORMER_IN_POOL_FOLDER = re.compile(
    r"\.(zope([0-9]+|run|debug)\.conf|release[0-9]+\.conf|storage\.conf|pool\.json)\.[a-z0-9_]{8}"
)


@dataclass(frozen=True)
class Candidate:
    """A configuration that nginx has verified."""

    nginx_conf: str
    pool_conf: str


def read_settings(home: Home) -> Settings:
    """etc/zenwebserver.conf, with the further keys that the template uses. Raises ZenwebserverError."""
    return load(home.settings_file, home.path, config.variables(template(home), str(home.nginx_template)))


def template(home: Home) -> str:
    """The admin's template, or the shipped one where the admin has none. Raises ZenwebserverError."""
    try:
        return files.read_text(home.nginx_template)
    except FileNotFoundError:
        return config.shipped_template()
    except OSError as error:
        raise ZenwebserverError(
            f"{home.nginx_template} cannot be read: {error.strerror}",
            hint="Nothing was changed. Check the file's owner and permissions.",
        ) from error


def nginx_binary(settings: Settings) -> Path:
    return settings.nginx or binary.embedded()


async def verified(home: Home, settings: Settings, servers: Sequence[config.PoolServer]) -> Candidate:
    """nginx.conf and the pool's file as the settings and the template have them now. Raises ZenwebserverError."""
    check_certificate(settings)
    nginx = nginx_binary(settings)
    pool_conf = config.render_pool(servers, settings, await binary.ask(nginx), processors=os.cpu_count() or 1)
    _make_folders(home, settings)
    with _folder_beside(home) as folder:
        try:
            await _verify(home, nginx, folder, await _rendered(home, settings, folder / "pool.conf"), pool_conf)
        except ZenwebserverError as error:
            error.hint = f"{error.hint} The lines are those of what comes of {home.nginx_template}.".strip()
            raise
    return Candidate(await _rendered(home, settings, home.nginx_pool_conf), pool_conf)


def former_place(home: Home) -> Path | None:
    """Where the home was, or is a copy from, by the nginx.conf that was made there; None where it was here already."""
    try:
        text = home.nginx_conf.read_text(encoding="utf-8", errors=AS_IT_IS)
    except OSError:
        return None
    place = config.made_for(text)
    try:
        return None if place is None or place == home.path or place.samefile(home.path) else place
    except OSError:  # it is gone
        return place


async def is_current(home: Home, settings: Settings) -> bool:
    """Whether etc/nginx.conf is what `configure` would write now. Raises ZenwebserverError."""
    return files.holds(home.nginx_conf, await _rendered(home, settings, home.nginx_pool_conf))


async def _rendered(home: Home, settings: Settings, pool_conf: Path) -> str:
    return config.render(
        template(home),
        template_name=str(home.nginx_template),
        settings=settings,
        home=home,
        capabilities=await binary.ask(nginx_binary(settings)),
        pool_conf=pool_conf,
        user=("root", "root") if os.geteuid() == 0 else None,
        ipv6=socket.has_dualstack_ipv6(),
    )


def check_certificate(settings: Settings) -> None:
    """Raises ZenwebserverError where TLS is asked for and cannot be had."""
    if settings.use_ssl:
        certificates.check(settings.ssl_cert, settings.ssl_key, datetime.now(UTC), settings.host_names)


async def verify_pool(home: Home, settings: Settings, pool_conf: str) -> None:
    """Ask nginx about the pool's file, with the nginx.conf in place. Raises ZenwebserverError."""
    nginx_conf = home.nginx_conf.read_text(encoding="utf-8", errors=AS_IT_IS)
    _make_folders(home, settings)
    with _folder_beside(home) as folder:
        candidate = nginx_conf.replace(str(home.nginx_pool_conf), str(folder / "pool.conf"))
        await _verify(home, nginx_binary(settings), folder, candidate, pool_conf)


async def verify_in_place(home: Home, settings: Settings) -> None:
    """Ask nginx about the files that it would load now. Raises ZenwebserverError."""
    _make_folders(home, settings)
    nginx = nginx_binary(settings)
    await binary.ask(nginx)  # says what it is, where it is no nginx
    await control.verify(nginx, home, home.nginx_conf, in_child=privileges.bind_low_ports)


async def verify_site(home: Home, settings: Settings) -> None:
    """Have the site's own Zope read zope.conf, as each server gets it. Raises ZenwebserverError with its words."""
    zope_ini.check(home.zope_ini)
    await site_python.check(home, settings.python)
    text = zope_conf.read(home.zope_conf).server_conf(
        client_home=home.var, name="verify", storage_socket=home.storage_socket
    )
    with _folder_beside(home) as folder:
        files.replace(folder / "zope.conf", text, mode=0o600)
        process = await asyncio.create_subprocess_exec(
            *launch.check_arguments(settings, folder / "zope.conf"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=launch.environment(home),
        )
        try:
            async with asyncio.timeout(VERIFY_SITE_SECONDS):
                _, words = await process.communicate()
        except TimeoutError:
            raise ZenwebserverError(
                f"Zope did not read {home.zope_conf} within {VERIFY_SITE_SECONDS:g} s",
                hint="Nothing was changed. What it imports (%import) may wait for something.",
            ) from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
    if process.returncode != 0:
        raise ZenwebserverError(
            f"Zope does not take {home.zope_conf}",
            hint="Nothing was changed.",
            detail=_of_zope_conf(words.decode(errors="replace").strip(), folder / "zope.conf", text, home.zope_conf),
        )


def _make_folders(home: Home, settings: Settings) -> None:
    """nginx takes no configuration whose folders somebody has removed."""
    for folder in config.folders(settings, home):
        make_folder(folder)


async def _verify(home: Home, nginx: Path, folder: Path, nginx_conf: str, pool_conf: str) -> None:
    (folder / "pool.conf").write_text(pool_conf, encoding="utf-8")
    (folder / "nginx.conf").write_text(nginx_conf, encoding="utf-8", errors=AS_IT_IS)
    try:
        await control.verify(nginx, home, folder / "nginx.conf", in_child=privileges.bind_low_ports)
    except ZenwebserverError as error:
        real = {"nginx.conf": (home.nginx_conf, nginx_conf), "pool.conf": (home.nginx_pool_conf, pool_conf)}
        error.detail = _in_place(error.detail, folder, real)
        raise


def _of_zope_conf(words: str, candidate: Path, text: str, original: Path) -> str:
    """Zope's words of a `candidate` that holds `text`, with the name and the lines of the site's own file."""
    lines, own = text.splitlines(), [line.strip() for line in files.read_text(original).splitlines()]

    def own_line(found: re.Match[str]) -> str:
        index = int(found[1]) - 1
        line = lines[index].strip() if index < len(lines) else ""
        return f"line {own.index(line) + 1}" if own.count(line) == 1 else f"the line `{line}`"

    return (
        re.sub(r"\bline (\d+)\b", own_line, words)
        .replace(f"file://{candidate}", str(original))
        .replace(str(candidate), str(original))
    )


def _in_place(words: str, folder: Path, real: Mapping[str, tuple[Path, str]]) -> str:
    """nginx's words of a candidate in `folder`, with the names of the `real` files and the line that it means."""
    meant = []
    for name, number in dict.fromkeys(re.findall(rf"{re.escape(str(folder))}/([a-z.]+):(\d+)", words)):
        lines = real[name][1].splitlines()
        if 0 < int(number) <= len(lines):
            meant.append(f"{real[name][0]}:{number}: {lines[int(number) - 1].strip()}")
    for name, (path, _) in real.items():
        words = words.replace(str(folder / name), str(path))
    return "\n".join([words, *meant])


@contextmanager
def _folder_beside(home: Home) -> Iterator[Path]:
    """A folder for candidates, in etc/ so that relative includes mean the same."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=".verify-", suffix=files.MARK, dir=home.etc))
    except OSError as error:
        error.filename = str(home.etc)
        raise
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def sweep(home: Home) -> list[Path]:
    """Remove what killed supervisors left unfinished. Only under the supervisor's lock. Returns what was removed."""
    return [
        *files.sweep((home.path.resolve(), home.etc, home.pool_folder, home.run, home.html)),
        *files.sweep((home.etc,), FORMER_IN_ETC),
        *files.sweep((home.pool_folder,), FORMER_IN_POOL_FOLDER),
    ]
