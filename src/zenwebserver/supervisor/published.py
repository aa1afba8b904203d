"""What nginx is told: its generated files, rendered, verified by nginx itself, and only then put in place."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.machine import files, privileges
from zenwebserver.machine.files import make_folder
from zenwebserver.machine.processes import end_group
from zenwebserver.nginx import binary, certificates, config, control
from zenwebserver.settings import Settings, load
from zenwebserver.site import zope_conf, zope_ini
from zenwebserver.supervisor import candidates
from zenwebserver.supervisor.line import launch, site_python

VERIFY_SITE_SECONDS = 120.0  # what zope.conf imports may be large, and the machine busy
AS_IT_IS = "surrogateescape"  # nginx takes any bytes in a comment; so they stop no change of the pool


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
    with candidates.folder_beside(home) as folder:
        try:
            await _verify(home, nginx, folder, await _rendered(home, settings, folder / "pool.conf"), pool_conf)
        except ZenwebserverError as error:
            error.hint = f"{error.hint} The lines are those of what comes of {home.nginx_template}.".strip()
            raise
    return Candidate(await _rendered(home, settings, home.nginx_pool_conf), pool_conf)


def former_place(home: Home) -> Path | None:
    """Where the home was, or is a copy from, by the nginx.conf that was made there; None where it was here already."""
    place = _made_for(home)
    try:
        return None if place is None or place == home.path or place.samefile(home.path) else place
    except OSError:  # it is gone
        return place


def _made_for(home: Home) -> Path | None:
    try:
        return config.made_for(home.nginx_conf.read_text(encoding="utf-8", errors=AS_IT_IS))
    except OSError:
        return None


async def is_current(home: Home, settings: Settings) -> bool:
    """Whether etc/nginx.conf is what `configure` would write now. Raises ZenwebserverError.

    One home may be called by several paths, over links; it is made for one of them.
    """
    place = _made_for(home)
    if place and place != home.path and not former_place(home):
        home, settings = Home(place), read_settings(Home(place))
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
    with candidates.folder_beside(home) as folder:
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
    with candidates.folder_beside(home) as folder:
        files.replace(folder / "zope.conf", text, mode=0o600)
        process = await asyncio.create_subprocess_exec(
            *launch.check_arguments(settings, folder / "zope.conf"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=launch.environment(home),
            process_group=0,
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
                await end_group(process)
    if process.returncode != 0:
        said = words.decode(errors="replace").strip()
        raise ZenwebserverError(
            f"Zope does not take {home.zope_conf}",
            hint="Nothing was changed.",
            detail=candidates.in_words_of_zope_conf(said, folder / "zope.conf", text, home.zope_conf),
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
        error.detail = candidates.in_words_of_nginx(error.detail, folder, real)
        raise
