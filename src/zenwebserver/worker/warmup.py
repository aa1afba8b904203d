"""Before a server accepts: its database answers, and the pages that visitors ask first have been made once a thread."""

from __future__ import annotations

import io
import sys
import threading
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from . import missing
from .application import WSGIApplication


class WarmUpFailed(Exception):
    """A page could not be made; the text says which, and how it answered."""


@dataclass(frozen=True)
class WarmUp:
    """`paths` as visitors ask for them; `base` is the site's address ("http://www.example.org:80").

    `root` is the object that visitors see as the root: "/Plone", or empty for Zope's own.
    """

    paths: tuple[str, ...]
    base: str
    root: str
    threads: int

    def run(self, site: WSGIApplication) -> None:
        """Ask for each path once, then in every thread at once, so that each thread's database connection is warm.

        Raises WarmUpFailed for a status of 500 or above.
        """
        for path in self.paths:
            failures: list[str] = []
            # Alone first: templates that two threads compile at once fail now and then on Python 3.11 (gh-106905).
            self._ask(site, path, failures)
            threads = [threading.Thread(target=self._ask, args=(site, path, failures)) for _ in range(self.threads)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if failures:
                raise WarmUpFailed(failures[0])

    def _ask(self, site: WSGIApplication, path: str, failures: list[str]) -> None:
        try:
            status = _answer(site, self._environ(path))
        except BaseException as error:  # noqa: BLE001 - the site's error is told by the thread that waits
            failures.append(f"The warm-up of {path} failed: {type(error).__name__}: {error}")
        else:
            if int(status.split()[0]) >= 500:
                failures.append(f"The warm-up of {path} was answered: {status}")

    def _environ(self, path: str) -> dict[str, Any]:
        base = urlsplit(self.base)
        path, _, query = path.partition("?")
        virtual = f"/VirtualHostBase/{base.scheme}/{base.netloc}{self.root}/VirtualHostRoot{unquote(path, 'latin-1')}"
        return {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "",
            "PATH_INFO": virtual,
            "QUERY_STRING": query,
            "SERVER_NAME": base.hostname or "localhost",
            "SERVER_PORT": str(base.port or 80),
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": base.netloc,
            "HTTP_USER_AGENT": "zenwebserver warm-up",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": base.scheme,
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }


def _answer(site: WSGIApplication, environ: dict[str, Any]) -> str:
    """Have the page made, read it to its end, and return its status line."""
    statuses: list[str] = []

    def start_response(status: str, _headers: Any, exc_info: Any = None) -> Any:
        del exc_info
        statuses.append(status)
        return lambda _: None

    body = site(environ, start_response)
    try:
        for _ in body:
            pass
    finally:
        if hasattr(body, "close"):
            body.close()
    return statuses[-1]


def check_database(site_root: str) -> None:
    """Read the root of the database, and look at the objects on the way to the site's root.

    Raises what the storage raises; ClassesMissing where this is not the Python of the site.
    """
    import Zope2

    connection = Zope2.DB.open()
    try:
        connection.sync()
        missing.check(connection, site_root)
    finally:
        connection.close()
