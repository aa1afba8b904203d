"""The site as visitors see it: where its storage is away, 503 with Retry-After instead of an error, or of silence."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from typing import Any, Callable

from .application import WSGIApplication
from .patience import Clients, StorageAway

STATUS = "503 Service Unavailable"
RETRY_AFTER_SECONDS = 10  # as nginx says where no server answers (nginx.conf.template)
WORDS = "The site cannot reach its data right now. Nothing was changed. Please try again in a moment."


class Available:
    """`site`, as long as its storages are there. What has begun to be answered is not taken back."""

    def __init__(self, site: WSGIApplication, clients: Clients, error_page: str) -> None:
        self._site = site
        self._clients = clients
        self._error_page = error_page  # the file for browsers

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = self._clients.request
        request.begins()
        answer = _Answer(start_response, lambda: request.away and not request.finishes)
        try:
            self._clients.wait()  # out here: a database's connection that cannot begin is lost, with all that it knows
            body = self._site(environ, answer.start)
        except Exception as error:
            if answer.begun or request.finishes or not _is_of_its_absence(error):
                raise
            return self._unavailable(environ, start_response)
        finally:
            answer.may_be_another = False
        if not answer.is_another:
            return body
        if hasattr(body, "close"):
            body.close()
        return self._unavailable(environ, start_response)

    def _unavailable(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        kind, text = self._text_for(environ.get("HTTP_ACCEPT", ""))
        headers = [
            ("Content-Type", f"{kind}; charset=utf-8"),
            ("Content-Length", str(len(text))),
            ("Cache-Control", "no-store"),
            ("Retry-After", str(RETRY_AFTER_SECONDS)),
        ]
        start_response(STATUS, headers)
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [text]

    def _text_for(self, accept: str) -> tuple[str, bytes]:
        """A page for a browser, JSON for an API client that asks for it, a sentence for others."""
        if "text/html" in accept:
            with contextlib.suppress(OSError), open(self._error_page, "rb") as page:
                return "text/html", page.read()
        if "json" in accept:
            return "application/json", json.dumps({"type": "ServiceUnavailable", "message": WORDS}).encode()
        return "text/plain", f"{WORDS}\n".encode()


class _Answer:
    """The site's answer: where it is an error that comes of the storage's absence, another is given in its place.

    Sites render their own pages of an exception, with a status of 500.
    """

    def __init__(self, start_response: Callable[..., Any], storage_is_away: Callable[[], bool]) -> None:
        self.begun = False
        self.is_another = False
        self.may_be_another = True
        self._start_response = start_response
        self._storage_is_away = storage_is_away

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        if self.may_be_another and not self.begun and status[:1] == "5" and self._storage_is_away():
            self.is_another = True
            return lambda _: None
        self.begun = True
        self.is_another = False
        return self._start_response(status, headers, *([exc_info] if exc_info else []))


def _is_of_its_absence(error: Exception) -> bool:
    """Waited for in vain; or it went away in each of Zope's tries."""
    return isinstance(error, StorageAway) or type(error).__name__ == "ClientDisconnected"


def with_patience(site: WSGIApplication, error_page: str) -> WSGIApplication:
    """`site` around Zope's databases. From now on requests wait for a storage no longer than patience.py has it."""
    import Zope2

    clients = Clients(lambda: Zope2.DB.databases.values())
    list(clients)  # those that are open
    return Available(site, clients, error_page)
